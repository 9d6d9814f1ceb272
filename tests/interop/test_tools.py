#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Go's pilotctl and its Python SDK, unchanged, with our daemon: against another of ours and against a Go node."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import tap  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402
from node import Go, GoTools, ask_and_approve  # noqa: E402

suite = tap.Suite("tools", hosts=("alpha", "beta", "gamma"), daemons=False)
nodes = {}
MIB = 8
STORE, LATER = 4000, 4001


def said(done, *words):
    """The finished program succeeded and said each of these."""
    expect_equal(done.returncode, 0, f"the exit status, with {done.stdout!r} {done.stderr!r}")
    for word in words:
        expect(word in done.stdout, f"no {word!r} in {done.stdout!r}")


@suite.first("two of our daemons and a Go node register; Go's pilotctl and SDK find ours by themselves")
def start(world):
    world.start_rendezvous()
    nodes["a"] = GoTools(world, "alpha").start()
    nodes["b"] = GoTools(world, "beta").start()
    nodes["Go"] = Go(world, "gamma").start()
    said(nodes["a"].text("info"), "agent-alpha", nodes["a"].address, "persistent")
    said(nodes["a"].text("daemon", "status"), "running", "agent-alpha")
    for command in ("peers", "connections", "trust", "pending"):
        said(nodes["a"].text(command), "no ")
    info = nodes["a"].sdk("print(json.dumps(driver.info()))")
    expect_equal((info["node_id"], info["hostname"]), (nodes["a"].id, "agent-alpha"), "what the SDK says")


@suite.case("another user's tools are sent away")
def other_user(world):
    world.run("alpha", "chmod", "755", "/home/user", "/home/user/go")
    for socket in ("/tmp/pilot.sock", "/run/user/1000/pilot.sock"):
        done = world.run("alpha", "env", f"PILOT_SOCKET={socket}", "/home/user/go/pilotprotocol/bin/pilotctl", "info", user="other", check=False)
        expect(done.returncode != 0 and "agent-alpha" not in done.stdout, f"another user asked and was answered: {done.stdout}")
    # Root may, as on D-Bus.
    said(world.run("alpha", "env", "PILOT_SOCKET=/tmp/pilot.sock", "/home/user/go/pilotprotocol/bin/pilotctl", "info", user="root", check=False), "agent-alpha")


@suite.case("handshake, pending, approve, reject, untrust: ours to ours, ours to Go, Go to ours")
def trust(_world):
    for asker, granter in (("a", "b"), ("a", "Go"), ("Go", "b")):
        ask_and_approve(nodes[asker], nodes[granter])
    nodes["a"].ctl("untrust", str(nodes["b"].id))
    nodes["a"].trusts_not(nodes["b"])
    nodes["b"].trusts_not(nodes["a"])
    nodes["b"].ctl("handshake", str(nodes["a"].id), "again?")
    wait_until(lambda: nodes["b"].id in nodes["a"].pending(), 10, "the request arrives")
    nodes["a"].ctl("reject", str(nodes["b"].id), "not today")
    expect_equal(nodes["a"].pending(), set(), "what is pending after the rejection")
    ask_and_approve(nodes["a"], nodes["b"])


@suite.case("ping, bench and connect, by address and by name, to ours and to Go", needs=[trust])
def talk(_world):
    a = nodes["a"]
    for other in (nodes["b"], nodes["Go"]):
        a.round_trips(other, 3)
        said(a.text("bench", str(other.id), str(MIB)), "Echoed:", f"{MIB}.0 MB")
        said(a.text("connect", str(other.id), "7", "--message", "hello echo"), "hello echo")
        expect(a.path_to(other) in ("direct", "relay"), f"{a.host} sees {other.host}: {a.path_to(other)}")
    said(a.text("ping", "agent-beta", "--count", "1"), "seq=0 bytes=6")
    nodes["Go"].round_trips(nodes["b"], 3)
    refused = a.text("connect", str(nodes["b"].id), "4444", "--message", "x")
    expect(refused.returncode != 0, f"a closed port: {refused.stdout!r}")


@suite.case("datagrams: dgram and listen", needs=[trust])
def datagrams(world):
    a, b = nodes["a"], nodes["b"]
    world.background("beta", "listen.log", *b.words("listen", "5000", "--count", "1"))
    wait_until(lambda: "waiting" in b.said("listen.log"), 10, "the listener listens")
    said(a.text("dgram", str(b.id), "5000", "--data", "a short word"), "sent")
    wait_until(lambda: "a short word" in b.said("listen.log"), 10, "the datagram arrives")


@suite.case("messages, with the reply that is waited for, and events, by Go's pilotctl on our daemons and on Go's", needs=[trust])
def messages_and_events(world):
    a, b, go = nodes["a"], nodes["b"], nodes["Go"]
    for sender in (a, go):
        seen = sender.ctl("send-message", str(b.id), "--data", f"hello from {sender.host}")
        expect(str(seen["ack"]).startswith("ACK TEXT"), f"the receipt of {sender.host}: {seen}")
    sent = a.ctl("send-message", str(b.id), "--data", '{"question": 1}', "--type", "json")
    # Before 1.14 messages have no ids.
    if not node.older_than(1, 14):
        world.background("alpha", "waits.log", *a.words("--json", "send-message", str(b.id), "--data", "and?", "--wait", "30s"))
        asked = wait_until(lambda: next((one for one in b.ctl("inbox")["messages"] if "and?" in str(one)), None), 20, "the question is in the inbox")
        b.ctl("send-message", str(a.id), "--data", "this one", "--reply-to", asked["id"])
        wait_until(lambda: "this one" in a.said("waits.log"), 20, "the reply that is waited for")
        expect(sent["message_id"] in str(b.ctl("inbox")), f"the id of {sent} in the inbox")
    for subscriber, broker, publisher in ((a, b, a), (a, b, go), (b, go, a)):
        log = f"events-{publisher.host}.log"
        world.background(subscriber.host, log, *subscriber.words("--json", "subscribe", str(broker.id), "news", "--count", "1", "--timeout", "30s"))

        def told(subscriber=subscriber, broker=broker, publisher=publisher, log=log):
            # Whether it has subscribed yet nobody can see: so more than once.
            publisher.ctl("publish", str(broker.id), "news", "--data", "fire")
            return "fire" in subscriber.said(log)

        wait_until(told, 30, f"{subscriber.host} hears what {publisher.host} publishes at {broker.host}")


@suite.case("messages and files to a Go node; names, tags and visibility at the registry", needs=[trust])
def services(world):
    a, b, go = nodes["a"], nodes["b"], nodes["Go"]
    a.ctl("send-message", str(go.id), "--data", "hello Go")
    wait_until(lambda: "hello Go" in str(go.ctl("inbox")), 10, "the message is in the inbox")
    world.run("alpha", "sh", "-c", "head -c 300000 /dev/urandom >blob; sha256sum <blob >blob.sum")
    a.ctl("send-file", str(go.id), "/home/user/blob")
    wait_until(lambda: "blob" in str(go.ctl("received")), 10, "the file is there")
    a.ctl("set-hostname", "agent-zeta")
    expect_equal(a.ctl("info")["hostname"], "agent-zeta", "the name")
    expect_equal(b.ctl("find", "agent-zeta")["node_id"], a.id, "who has the name")
    a.ctl("set-hostname", "agent-alpha")
    for visibility in ("public", "private"):
        expect_equal([each.ctl(f"set-{visibility}")["visibility"] for each in (a, go)], [visibility] * 2, f"set-{visibility}")
    for each in (a, go):
        said_no = each.text("handshake", "99") if each is a else each.fails("handshake", "99")
        expect("node not found" in str(said_no), f"{each.host} asks a node that does not exist: {said_no}")
    signed = a.ctl("sign-request", "--audience", "example.svc", "--body", "hello")
    # Before 1.18 a Go node refuses what a node has signed that it trusts, its own kind too: it knows no key for it.
    for verifier in (b,) if node.older_than(1, 18) else (b, go):
        seen = verifier.ctl("verify-request", "--envelope", signed["envelope"], "--signature", signed["signature"])
        expect_equal((seen["valid"], seen["node_id"]), (True, a.id), f"{verifier.host} verifies what {a.host} signed: {seen}")
    signed = go.ctl("sign-request", "--audience", "example.svc", "--body", "hello")
    seen = a.ctl("verify-request", "--envelope", signed["envelope"], "--signature", signed["signature"])
    expect_equal((seen["valid"], seen["node_id"]), (True, go.id), f"{a.host} verifies what {go.host} signed: {seen}")
    expect_equal(a.ctl("prefer-direct", str(b.id))["node_id"], b.id, "prefer-direct")
    expect_equal(a.ctl("extras", "set-tags", "x", "y")["tags"], ["x", "y"], "the tags")
    said(a.text("health"), "ok")
    refused = a.text("network", "list")
    expect(refused.returncode != 0 and "not supported by this daemon" in refused.stderr, f"networks: {refused.stderr!r}")


@suite.case(f"SDK to SDK on our daemons: {MIB} MiB with its digest, the reader closes last; 50 streams at once", needs=[trust])
def sdk_streams(_world):
    a, b = nodes["a"], nodes["b"]
    log = b.serve(STORE, "serve", str(STORE))
    seen = a.stream("put", b.address, str(STORE), str(MIB))
    expect_equal(seen["received"], seen["sent"], "the digest that the server saw")
    wait_until(lambda: "closed by the peer" in b.said(log), 10, "the server sees the end")
    seen = a.stream("echo", b.address, "7", str(MIB))
    expect_equal((seen["received"], seen["bytes"]), (seen["sent"], MIB << 20), "the echo")
    expect_equal(a.stream("many", b.address, "7", "50"), {"right": 50, "errors": []}, "the 50 streams")
    b.serve(LATER, "greet", str(LATER), str(MIB))
    seen = a.stream("get", b.address, str(LATER))
    expect_equal((seen["received"], seen["bytes"]), (a.blob_digest(MIB), MIB << 20), "what a server that speaks first said")


@suite.case("SDK on ours to SDK on Go and back", needs=[trust])
def sdk_across(_world):
    b, go = nodes["b"], nodes["Go"]
    for client, server in ((b, go), (go, b)):
        log = server.serve(STORE + 10, "serve", str(STORE + 10))
        seen = client.stream("put", server.address, str(STORE + 10), str(MIB))
        expect_equal(seen["received"], seen["sent"], f"{client.host} to {server.host}")
        wait_until(lambda at=server, name=log: "closed by the peer" in at.said(name), 10, "the server sees the end")


@suite.case("the functions of the SDK: each answers, or says what is not there", needs=[trust])
def sdk_functions(_world):
    a, b = nodes["a"], nodes["b"]
    seen = a.sdk("""
peer, name, address = int(sys.argv[1]), sys.argv[2], sys.argv[3]
seen = {"health": driver.health()["status"], "trusted": [row["node_id"] for row in driver.trusted_peers()["trusted"]],
        "pending": driver.pending_handshakes(), "resolved": driver.resolve_hostname(name)["node_id"], "tags": driver.set_tags(["a", "b"])["type"],
        "waited": driver.wait_for_trust(peer, 300), "webhook": driver.set_webhook(""), "policy": driver.policy_get(5)["engine"],
        "again": driver.handshake(peer, "again")["status"]}
failures = {}
for word, call in {"network": driver.network_list, "managed": lambda: driver.managed_status(0), "rotate": driver.rotate_key,
                   "broadcast": lambda: driver.broadcast(5, 5000, b"x", "token"), "refused": lambda: driver.dial(address + ":4444", timeout=20),
                   "nobody": lambda: driver.dial("0:0000.0000.7777:7", timeout=20), "bound": lambda: driver.listen(7)}.items():
    try:
        failures[word] = repr(call())
    except PilotError as error:
        failures[word] = str(error)
driver.disconnect(987654)
driver.send_to(address + ":5001", b"datagram")
seen["failures"], seen["last"] = failures, driver.info()["node_id"]
print(json.dumps(seen))
""", str(b.id), "agent-beta", b.address)
    failures = seen.pop("failures")
    expect_equal({**seen, "trusted": sorted(seen["trusted"])},
                 {"health": "ok", "trusted": sorted((b.id, nodes["Go"].id)), "pending": {"pending": []}, "resolved": b.id, "tags": "set_tags_ok",
                  "waited": True, "webhook": {"webhook": ""}, "policy": "none", "again": "already_trusted", "last": a.id}, "what the functions answer")
    for word, text in {"network": "not supported by this daemon", "managed": "no active managed networks", "rotate": "not supported by this daemon",
                       "broadcast": "no admin token", "refused": "connection refused", "nobody": "knows no node", "bound": "port 7 already bound"}.items():
        expect(text in failures[word], f"{word}: {failures[word]!r}")


def open_streams(of):
    return [row for row in of.ctl("connections")["connections"] if row["state"] != "TIME_WAIT"]


@suite.case("a dial given up while it opens leaves nothing at a Go peer", needs=[trust])
def given_up(world):
    a, b, go = nodes["a"], nodes["b"], nodes["Go"]
    a.round_trips(go, 1)
    wait_until(lambda: not open_streams(go), 30, "the streams of the other cases are over")
    world.wire("gamma", {"delay": 150})
    # The driver itself says nothing of it; its next dial does.
    seen = a.sdk("""
given_up = []
for _ in range(5):
    try:
        driver.dial(sys.argv[1], timeout=0.15)
    except PilotError as error:
        given_up.append(str(error))
    driver.dial(sys.argv[2], timeout=20).close()
print(json.dumps(given_up))
""", f"{go.address}:7", f"{b.address}:7")
    expect_equal(len(seen), 5, f"the dials that were given up: {seen}")
    wait_until(lambda: not open_streams(go), 15, "Go holds none of the streams that were given up")
    # Last: what is on the wire goes with it.
    world.wire("gamma", {}, clear=True)


@suite.case("a dial that the SDK gave up does not answer the next one; a client that is killed leaves its port", needs=[trust])
def late(world):
    a, b = nodes["a"], nodes["b"]
    # A trusted peer that is away: the dial waits. The next one must get its own answer.
    nodes["Go"].kill()
    seen = a.sdk("""
away, here = sys.argv[1], sys.argv[2]
said = []
for _ in range(3):
    try:
        driver.dial(away, timeout=0.3)
        said.append("connected")
    except PilotError as error:
        said.append(str(error))
    stream = driver.dial(here, timeout=20)
    stream.write(b"who is there")
    said.append(stream.read(100).decode())
    stream.close()
print(json.dumps(said))
""", f"{nodes['Go'].address}:5999", f"{b.address}:7")
    expect_equal(seen[1::2], ["who is there"] * 3, f"the echoes, of {seen}")
    expect(not any("connected" == word for word in seen[::2]), f"the peer that is away: {seen}")
    pid = world.background("beta", "holder.log", *b.stream_words("serve", str(STORE + 20)))
    wait_until(lambda: b.said("holder.log").startswith("ready"), 10, "the port is bound")
    world.run("beta", "kill", "-KILL", str(pid))
    wait_until(lambda: b.sdk(f"driver.listen({STORE + 20})\nprint('1')") == 1, 20, "the port is free again")


node.main(suite)
