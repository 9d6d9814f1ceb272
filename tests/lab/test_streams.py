#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Streams and datagrams for programs: connect, send, recv, dgram, listen, bench, traceroute, subscribe, publish, between two nodes behind NATs."""

import base64
import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import ALPHA, BETA, address, kill, make_trust, pilotctl, refused, timed, write_file  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

suite = tap.Suite("streams", hosts=("alpha", "beta"))
TO_BETA = address(BETA)
MEBIBYTES = 8


def background(world, host, name, command):
    """Runs a shell command in the background; its stdout goes to NAME.out, its stderr to NAME.err, its exit code to NAME.code."""
    world.run(host, "rm", "-f", f"{name}.out", f"{name}.err", f"{name}.code")
    return world.background(host, f"{name}.log", "sh", "-c", f"{command} >{name}.out 2>{name}.err; echo $? >{name}.code.new; mv {name}.code.new {name}.code")


def finished(world, host, name, seconds=30):
    """(exit code, stdout, stderr) of what background() started."""
    code = wait_until(lambda: world.run(host, "cat", f"{name}.code", check=False).stdout.strip(), seconds, f"{name} on {host} ends")
    return int(code), world.run(host, "cat", f"{name}.out").stdout, world.run(host, "cat", f"{name}.err").stdout


def bound(world, host):
    """{(kind, port)} that programs hold."""
    said = world.run(host, "dbus-send", "--peer=unix:path=/run/user/1000/pilot/bus", "--print-reply=literal", "/network/pilotprotocol/Pilot1",
                     "network.pilotprotocol.Pilot1.Streams.ListPorts").stdout
    return {(kind, int(port)) for port, kind in re.findall(r"\bport\s+variant\s+uint16 (\d+).*?\bkind\s+variant\s+(\w+)", said, re.S)} | \
           {(kind, int(port)) for kind, port in re.findall(r"\bkind\s+variant\s+(\w+).*?\bport\s+variant\s+uint16 (\d+)", said, re.S)}


def wait_bound(world, host, port, kind="stream"):
    wait_until(lambda: (kind, port) in bound(world, host), 20, f"{kind} port {port} of {host} is bound")


def statistics(world, host="beta"):
    """Counters of the event stream of a node."""
    said = world.run(host, "dbus-send", "--peer=unix:path=/run/user/1000/pilot/bus", "--print-reply=literal", "/network/pilotprotocol/Pilot1",
                     "network.pilotprotocol.Pilot1.Events.GetStatistics").stdout
    return {name: int(value) for name, value in re.findall(r"\b(\w+)\s+variant\s+uint\d+ (\d+)", said)}


def receive(world, name, port, *options):
    background(world, "beta", name, f"pilotctl recv {port} {' '.join(options)}")
    wait_bound(world, "beta", port)


@suite.first("an untrusted private peer: trust_required, and nothing is sent")
def untrusted(world):
    for words in (("connect", TO_BETA, "--message", "x"), ("send", TO_BETA, "1000", "--data", "x"), ("dgram", TO_BETA, "1000", "--data", "x"), ("bench", TO_BETA)):
        message = refused(world, "alpha", "trust_required", *words)
        expect("without trust" in message, message)
    hint = json.loads(world.run("alpha", "pilotctl", "--json", "connect", TO_BETA, "--message", "x", check=False).stderr)["hint"]
    expect_equal(hint, f"run: pilotctl handshake {TO_BETA}", "the hint")
    expect_equal(pilotctl(world, "alpha", "peers")["peers"], [], "peers of alpha: no tunnel was tried")
    refused(world, "alpha", "trust_required", "connect", TO_BETA, "--message", "x", "--no-auto-handshake")
    make_trust(world)


@suite.case("a datagram before there is a tunnel; listen prints it")
def first_datagram(world):
    background(world, "beta", "listen", "pilotctl --json listen 4000 --count 3 --timeout 60s")
    background(world, "beta", "other", "pilotctl --json listen 4001 --count 1 --timeout 2s")
    for port in (4000, 4001):
        wait_bound(world, "beta", port, "datagram")
    expect_equal(world.run("alpha", "pilotctl", "dgram", TO_BETA, "4000", "--data", "héllo").stdout, f"sent 6 byte(s) to {TO_BETA} port 4000\n", "dgram")
    for _ in range(2):
        expect_equal(pilotctl(world, "alpha", "dgram", TO_BETA, "4000", "--data", "again"), {"target": TO_BETA, "port": 4000, "bytes": 5}, "dgram")
    code, out, _ = finished(world, "beta", "listen")
    messages = json.loads(out)["data"]["messages"]
    expect_equal((code, len(messages)), (0, 3), "listen")
    expect_equal({message["src_addr"] for message in messages}, {address(ALPHA)}, "senders")
    expect_equal([message["data"] for message in messages if message["src_port"] >= 49152], ["héllo", "again", "again"], "data")
    expect_equal(json.loads(finished(world, "beta", "other")[1])["data"], {"messages": [], "timeout": True}, "the other port")


@suite.case("datagrams of every size; what is too long is an error")
def datagram_sizes(world):
    background(world, "beta", "sizes", "pilotctl --json listen 4000 --timeout 60s")
    wait_bound(world, "beta", 4000, "datagram")
    for size in (1, 1152, 1153, 4000, 65428):
        # A datagram in pieces is lost as a whole when one piece is.
        wait_until(lambda: world.run("alpha", "sh", "-c", f'pilotctl dgram {TO_BETA} 4000 --data "$(head -c {size} /dev/zero | tr "\\0" x)"').returncode == 0
                   and any(json.loads(line)["bytes"] == size for line in world.run("beta", "cat", "sizes.out").stdout.splitlines()), 10, f"{size} bytes arrive", every=0.3)
    kill(world, "beta", world.run("beta", "pgrep", "-xf", "pilotctl --json listen 4000 --timeout 60s").stdout.split()[0])
    done = world.run("alpha", "sh", "-c", f'pilotctl --json dgram {TO_BETA} 4000 --data "$(head -c 65429 /dev/zero | tr "\\0" x)"', check=False)
    expect_equal((done.returncode, json.loads(done.stderr)["code"]), (1, "invalid_argument"), "65429 bytes")
    refused(world, "alpha", "invalid_argument", "dgram", TO_BETA, "4000", "--data", "")


@suite.case("connect --message and recv")
def message(world):
    receive(world, "recv", 1000)
    data = pilotctl(world, "alpha", "connect", TO_BETA, "--message", "hello beta")
    expect_equal((data["target"], data["port"], data["sent"], data["bytes_sent"], data["response"]), (TO_BETA, 1000, "hello beta", 10, ""), "connect")
    # In a file it is what was sent, without a line end of ours.
    expect_equal(finished(world, "beta", "recv"), (0, "hello beta", ""), "recv")


@suite.case("nobody listens: refused at once; recv gives up in time")
def nobody(world):
    _, took = timed(lambda: refused(world, "alpha", "refused", "connect", TO_BETA, "1234", "--message", "x"))
    expect(took < 5, f"refused after {took:.1f} s")
    done, took = timed(lambda: pilotctl(world, "beta", "recv", "1000", "--timeout", "1s"))
    expect_equal(done, {"messages": [], "timeout": True}, "recv")
    expect(0.9 < took < 10, f"recv gave up after {took:.1f} s")
    for words in (("connect", TO_BETA, "0", "--message", "x"), ("connect", TO_BETA, "70000", "--message", "x"), ("recv", "1000", "--count", "0"),
                  ("connect", TO_BETA, "--message", "x", "--timeout", "never"), ("send", TO_BETA, "1000")):
        refused(world, "alpha", "invalid_argument", *words)
    expect("itself" in refused(world, "alpha", None, "connect", str(ALPHA), "--message", "x", "--no-auto-handshake"), "connect to itself")


@suite.case("a port has one listener, and is free again when that is killed")
def one_listener(world):
    receive(world, "first", 5000, "--timeout", "50s")
    refused(world, "beta", "already_exists", "recv", "5000", "--timeout", "1s")
    kill(world, "beta", world.run("beta", "pgrep", "-xf", "pilotctl recv 5000 --timeout 50s").stdout.split()[0], "KILL")
    wait_until(lambda: ("stream", 5000) not in bound(world, "beta"), 20, "port 5000 is free")


@suite.case("several streams wait in turn; each is read to its end")
def several(world):
    receive(world, "several", 5001, "--count", "4", "--timeout", "50s")
    # All four before the first is taken: they come while the receiver is busy with a slow one.
    background(world, "alpha", "slow", f"(echo one; sleep 2; echo two) | pilotctl connect {TO_BETA} 5001")
    for number in range(3):
        background(world, "alpha", f"quick{number}", f"pilotctl send {TO_BETA} 5001 --data quick")
    code, out, _ = finished(world, "beta", "several")
    expect_equal((code, sorted(out.split())), (0, ["one", "quick", "quick", "quick", "two"]), "recv")
    expect("one\ntwo\n" in out, out)
    for name in ("slow", "quick0", "quick1", "quick2"):
        expect_equal(finished(world, "alpha", name)[0], 0, name)


@suite.case("bytes through pipes, both ways at once, exactly")
def pipes(world):
    world.run("alpha", "sh", "-c", f"head -c {MEBIBYTES}M /dev/urandom >blob")
    done = world.run("alpha", "sh", "-c", f"pilotctl connect {TO_BETA} 7 <blob | cmp - blob && echo same", timeout=120)
    expect_equal(done.stdout, "same\n", "the echo")
    # To who listens as well, and more than --json would keep as one string.
    receive(world, "received", 5010, "--timeout", "60s", "| sha256sum")
    world.run("alpha", "sh", "-c", f"(head -c 70M /dev/zero; cat blob) | pilotctl connect {TO_BETA} 5010", timeout=120)
    expect_equal(finished(world, "beta", "received", 60)[:2], (0, world.run("alpha", "sh", "-c", "(head -c 70M /dev/zero; cat blob) | sha256sum").stdout), "recv")
    # A pipe that sends little by little, and one that is read slowly.
    done = world.run("alpha", "sh", "-c", f"for i in 1 2 3 4 5; do echo $i; sleep 0.1; done | pilotctl connect {TO_BETA} 7 | while read x; do sleep 0.1; echo got $x; done")
    expect_equal(done.stdout, "".join(f"got {i}\n" for i in range(1, 6)), "line by line")


@suite.case("raw bytes survive JSON")
def binary(world):
    receive(world, "binary", 5002, "--json")
    expect_equal(world.run("alpha", "sh", "-c", f"printf '\\377\\000\\376' | pilotctl connect {TO_BETA} 5002").returncode, 0, "connect")
    message = json.loads(finished(world, "beta", "binary")[1])["data"]["messages"][0]
    expect_equal((base64.b64decode(message["data_b64"]), message["bytes"], message["node_id"]), (b"\xff\x00\xfe", 3, ALPHA), "recv")


@suite.case("the reader goes away: the writer ends, quietly and not in order")
def reader_gone(world):
    done = world.run("alpha", "sh", "-c", f"pilotctl connect {TO_BETA} 7 <blob | head -c 1000 | wc -c", timeout=60)
    expect_equal(done.stdout.strip(), "1000", "what head read")
    receive(world, "gone", 5003, "--timeout", "50s")
    background(world, "alpha", "writer", f"cat /dev/zero | pilotctl connect {TO_BETA} 5003")
    wait_until(lambda: any(c["remote_port"] == 5003 for c in pilotctl(world, "alpha", "connections")["connections"]), 10, "a stream to port 5003")
    kill(world, "beta", world.run("beta", "pgrep", "-xf", "pilotctl recv 5003 --timeout 50s").stdout.split()[0], "KILL")
    code, _, err = finished(world, "alpha", "writer")
    expect(code != 0 and "error:" in err, f"the writer: exit {code}, {err!r}")


@suite.case("a stream ends with its descriptor: none is left")
def none_left(world):
    for host in ("alpha", "beta"):
        wait_until(lambda: not [c for c in pilotctl(world, host, "connections")["connections"] if c["state"] not in ("TIME_WAIT", "time-wait")], 40, f"no stream on {host}")


@suite.case("bench and traceroute")
def measure(world):
    data = pilotctl(world, "alpha", "bench", TO_BETA, "2", timeout=150)
    expect_equal((data["sent_bytes"], data["recv_bytes"], data["complete"]), (2 << 20, 2 << 20, True), "bench")
    expect(data["total_mbps"] > 0 and data["send_duration_ms"] <= data["total_duration_ms"], data)
    expect("MiB/s" in world.run("alpha", "pilotctl", "bench", TO_BETA, "0.5").stdout, "the text of bench")
    data = pilotctl(world, "alpha", "traceroute", TO_BETA)
    expect_equal((data["target"], len(data["rtt_samples"]), data["path"] in ("direct", "relay")), (TO_BETA, 3, True), "traceroute")
    for words in (("bench", TO_BETA, "0"), ("bench", TO_BETA, "5000"), ("bench", TO_BETA, "x")):
        refused(world, "alpha", "invalid_argument", *words)


@suite.case("events: a topic, every topic, none of another; the publisher may live at either end")
def events(world):
    background(world, "alpha", "alerts", f"pilotctl --json subscribe {TO_BETA} alerts --count 2 --timeout 60s")
    background(world, "alpha", "all", f"pilotctl --json subscribe {TO_BETA} '*' --count 4 --timeout 60s")
    background(world, "beta", "own", f"pilotctl --json subscribe {TO_BETA} alerts --count 2 --timeout 60s")
    wait_until(lambda: statistics(world)["subscribers"] == 3, 20, "three subscribers")
    expect_equal(pilotctl(world, "alpha", "publish", TO_BETA, "alerts", "--data", "fire"), {"target": TO_BETA, "topic": "alerts", "bytes": 4}, "publish")
    pilotctl(world, "alpha", "publish", TO_BETA, "Alerts", "--data", "another topic")
    pilotctl(world, "beta", "publish", TO_BETA, "alerts", "--data", "wäter")
    pilotctl(world, "alpha", "publish", TO_BETA, "*", "--data", "to all")
    for host, name, wanted in (("alpha", "alerts", ["fire", "wäter"]), ("beta", "own", ["fire", "wäter"]), ("alpha", "all", ["fire", "another topic", "wäter", "to all"])):
        code, out, err = finished(world, host, name)
        expect_equal((code, [event["data"] for event in json.loads(out)["data"]["events"]]), (0, wanted), f"{name}: {err}")
    wait_until(lambda: statistics(world)["subscribers"] == 0, 20, "no subscriber is left")
    expect_equal(pilotctl(world, "alpha", "subscribe", TO_BETA, "quiet", "--count", "1", "--timeout", "300ms"), {"events": [], "timeout": True}, "nothing comes")


@suite.case("events: a subscriber that does not read stalls nobody; a large one arrives whole")
def slow_subscriber(world):
    background(world, "alpha", "stuck", f"(pilotctl subscribe {TO_BETA} big; true) | (sleep 3600)")
    background(world, "alpha", "awake", f"pilotctl --json subscribe {TO_BETA} big --count 12 --timeout 60s")
    wait_until(lambda: statistics(world)["subscribers"] == 2, 20, "two subscribers")
    for _ in range(12):
        done = world.run("beta", "sh", "-c", f'pilotctl publish {TO_BETA} big --data "$(head -c 100000 /dev/zero | tr "\\0" x)"')
        expect_equal(done.returncode, 0, "publish")
    code, out, err = finished(world, "alpha", "awake")
    expect_equal((code, [event["bytes"] for event in json.loads(out)["data"]["events"]]), (0, [100000] * 12), f"awake: {err}")


@suite.case("events: an untrusted or absent node, a daemon without an event stream")
def no_events(world):
    refused(world, "alpha", "trust_required", "publish", address(9), "x", "--data", "x")
    refused(world, "alpha", "invalid_argument", "publish", TO_BETA, "x" * 1025, "--data", "x")
    pilotctl(world, "alpha", "daemon", "stop")
    world.start_daemon("alpha", "--no-eventstream")
    refused(world, "beta", "refused", "publish", address(ALPHA), "x", "--data", "x")
    refused(world, "alpha", "not_running", "subscribe", address(ALPHA), "x")


@suite.case("the daemon ends in the middle: an error, no hanging program")
def daemon_gone(world):
    background(world, "beta", "listener", "pilotctl listen 4005")
    receive(world, "receiver", 5004, "--timeout", "50s")
    background(world, "alpha", "sender", f"mkfifo hold; exec 3<>hold; pilotctl connect {TO_BETA} 5004 <&3")
    wait_until(lambda: any(c["remote_port"] == 5004 for c in pilotctl(world, "alpha", "connections")["connections"]), 10, "a stream to port 5004")
    kill(world, "beta", pilotctl(world, "beta", "daemon", "status")["pid"], "KILL")
    for name in ("receiver", "listener"):
        code, _, err = finished(world, "beta", name)
        expect_equal((code, err.startswith("error: ")), (1, True), f"{name}: {err!r}")
    kill(world, "alpha", pilotctl(world, "alpha", "daemon", "status")["pid"], "KILL")
    code, _, err = finished(world, "alpha", "sender")
    expect_equal((code, err.startswith("error: ")), (1, True), f"connect: {err!r}")


if __name__ == "__main__":
    suite.main()
