#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What programs do on streams and datagrams, between our node and a Go node, both ways: connect and recv, dgram and listen, bench, subscribe and publish."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import tap  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402
from node import Go, Ours, ask_and_approve  # noqa: E402

suite = tap.Suite("programs", hosts=("alpha", "beta"), daemons=False, nats={"alpha": "none", "beta": "none"})
nodes = {}
BOTH = (("ours", "Go"), ("Go", "ours"))


def words(who, *argv):
    """The words of its pilotctl, answering in JSON."""
    if who is nodes["Go"]:
        return [*who._environment(), "go/pilotprotocol/bin/pilotctl", "--json", *argv]
    return ["pilotctl", "--json", *argv]


def begin(who, name, *argv):
    """Starts its pilotctl in the background, stdout in a file of this name."""
    who.world.run(who.host, "rm", "-f", name)
    who.world.background(who.host, f"{name}.err", "sh", "-c", 'file=$1; shift; "$@" >"$file.new"; mv "$file.new" "$file"', "sh", name, *words(who, *argv))


def ended(who, name, seconds=30):
    """The data that it answered at last."""
    out = wait_until(lambda: who.world.run(who.host, "cat", name, check=False).stdout.strip(), seconds, f"{name} of {who.host} answers")
    return json.loads(out)["data"]


def repeat(action, until, what, seconds=20):
    """What comes before the other side is there is lost, or refused: once more, until it has come."""
    wait_until(lambda: (action(), until())[1], seconds, what, every=0.3)


@suite.first("both kinds register and trust each other")
def register(world):
    world.start_rendezvous()
    nodes.update(ours=Ours(world, "alpha").start(), Go=Go(world, "beta").start())
    ask_and_approve(nodes["ours"], nodes["Go"])
    nodes["ours"].ctl("expose", str(nodes["Go"].id))
    nodes["ours"].answers(nodes["Go"])


def sent_and_received(sender, receiver):
    begin(receiver, "recv", "recv", "1000", "--count", "1", "--timeout", "30s")
    repeat(lambda: sender.try_ctl("connect", sender.target(receiver), "1000", "--message", "hello", "--timeout", "2s"),
           lambda: receiver.world.run(receiver.host, "cat", "recv", check=False).stdout, "recv has it")
    data = ended(receiver, "recv")
    expect_equal([message.get("data") for message in data["messages"]], ["hello"], "recv")


@suite.case("connect to a recv of the other")
def connect(_world):
    for sender, receiver in BOTH:
        sent_and_received(nodes[sender], nodes[receiver])


@suite.case("connect to the echo of the other; the answer is read")
def echo(_world):
    for asker, other in BOTH:
        data = nodes[asker].ctl("connect", nodes[asker].target(nodes[other]), "7", "--message", "there and back")
        expect_equal((data["port"], data["response"]), (7, "there and back"), f"{asker}: connect")
        print(f"# {asker} says: {json.dumps(data)}", flush=True)


@suite.case("datagrams to a listen of the other")
def datagrams(_world):
    for sender, receiver in BOTH:
        begin(nodes[receiver], "listen", "listen", "4000", "--count", "2", "--timeout", "30s")
        repeat(lambda: nodes[sender].ctl("dgram", nodes[sender].target(nodes[receiver]), "4000", "--data", "héllo"),  # noqa: B023
               lambda: nodes[receiver].world.run(nodes[receiver].host, "cat", "listen", check=False).stdout, "listen has them")  # noqa: B023
        messages = ended(nodes[receiver], "listen")["messages"]
        expect_equal([(message["src_addr"], message["data"]) for message in messages], [(nodes[sender].address, "héllo")] * 2, f"{receiver}: listen")


@suite.case("pipes of ours: what went in comes back; who reads no more ends them without a word")
def pipes(world):
    ours, go = nodes["ours"], nodes["Go"]
    world.run(ours.host, "sh", "-c", "head -c 1000000 /dev/urandom >blob")
    world.run(ours.host, "sh", "-c", f"pilotctl connect {go.id} 7 <blob | cmp - blob")
    for command in (f"pilotctl connect {go.id} 7 <blob | head -c 10", "pilotctl listen 4001 | head -n 1"):
        process = world.spawn(ours.host, "bash", "-c", f"{command} >/dev/null; echo ${{PIPESTATUS[0]}}", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
        if "listen" in command:
            repeat(lambda: go.ctl("dgram", go.target(ours), "4001", "--data", "one line"),
                   lambda: process.poll() is not None, "listen ends")  # noqa: B023
        out, err = process.communicate(timeout=40)
        expect_equal((out.strip(), "Broken pipe" in err), ("141", False), f"{command}: {err}")


@suite.case("bench to the other")
def bench(_world):
    for asker, other in BOTH:
        data = nodes[asker].ctl("bench", nodes[asker].target(nodes[other]), "4", timeout=150)
        expect_equal((data["sent_bytes"], data["recv_bytes"]), (4 << 20, 4 << 20), f"{asker}: bench")
        print(f"# figure: bench {asker} to {other}: {data['total_mbps']:.1f} MiB/s", flush=True)


@suite.case("events: each subscribes at the other, each publishes at either end")
def events(_world):
    for subscriber, broker in BOTH:
        at, host = nodes[broker], nodes[subscriber]
        begin(host, "topic", "subscribe", host.target(at), "news", "--count", "2", "--timeout", "30s")
        begin(host, "all", "subscribe", host.target(at), "*", "--count", "2", "--timeout", "30s")
        repeat(lambda: host.ctl("publish", host.target(at), "news", "--data", "fire"),  # noqa: B023
               lambda: all(host.world.run(host.host, "cat", name, check=False).stdout for name in ("topic", "all")), "both subscribers have two")  # noqa: B023
        for name in ("topic", "all"):
            expect_equal([(event["topic"], event["data"], event["bytes"]) for event in ended(host, name)["events"]], [("news", "fire", 4)] * 2, f"{subscriber}: {name}")


@suite.case("a publication of ours is there when it is said to be")
def acknowledged(_world):
    ours, go = nodes["ours"], nodes["Go"]
    begin(ours, "counted", "subscribe", ours.target(go), "count", "--count", "20", "--timeout", "30s")
    begin(ours, "first", "subscribe", ours.target(go), "count", "--count", "1", "--timeout", "30s")
    repeat(lambda: ours.ctl("publish", ours.target(go), "count", "--data", "ready?"), lambda: ours.world.run(ours.host, "cat", "first", check=False).stdout, "a subscriber")
    for number in range(20):
        ours.ctl("publish", ours.target(go), "count", "--data", str(number))
    said = [event["data"] for event in ended(ours, "counted")["events"]]
    expect([data for data in said if data != "ready?"] == [str(number) for number in range(20 - said.count("ready?"))], said)


if __name__ == "__main__":
    node.main(suite)
