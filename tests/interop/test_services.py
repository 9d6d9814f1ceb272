#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The services between our node and a Go node, both ways: messages of each type, replies, files with their digest, a transfer that is continued."""

import hashlib
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import tap  # noqa: E402
from labkit.player import write_file  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402
from node import Go, Ours, ask_and_approve  # noqa: E402

suite = tap.Suite("services", hosts=("alpha", "beta"), daemons=False, nats={"alpha": "none", "beta": "none"})
nodes = {}
SIZE = 8_000_000
# sender, receiver
DIRECTIONS = (("ours", "Go"), ("Go", "ours"))


def both_ways(title):
    """A case for each direction, the sender first."""
    def add(function):
        for sender, receiver in DIRECTIONS:
            suite.case(f"{sender} to {receiver}: {title}")(lambda world, a=sender, b=receiver: function(world, nodes[a], nodes[b]))
        return function
    return add


def newest(receiver):
    """The newest message in its inbox, as its own pilotctl reads it."""
    rows = receiver.ctl("inbox", "--limit", "1")["messages"]
    return receiver.ctl("inbox", "read", rows[0]["id"]) if rows else None


def blob(world, host, name, seed):
    """A file of its own content; answers its digest."""
    data = (hashlib.sha256(str(seed).encode()).digest() * (SIZE // 32 + 1))[:SIZE]
    data = b"".join(number.to_bytes(4, "big") + data[number * 65536:(number + 1) * 65536] for number in range(SIZE // 65536 + 1))
    write_file(world, host, name, data)
    return hashlib.sha256(data).hexdigest()


def received_digests(world, host):
    return world.run(host, "sh", "-c", "cd .pilot/received && find . -maxdepth 1 -type f -exec sha256sum {} + | cut -c1-64").stdout.split()


@suite.first("both kinds trust each other")
def register(world):
    world.start_rendezvous()
    nodes.update(ours=Ours(world, "alpha").start(), Go=Go(world, "beta").start())
    ask_and_approve(nodes["ours"], nodes["Go"])
    nodes["ours"].answers(nodes["Go"])


@both_ways("a message of each type")
def messages(_world, sender, receiver):
    for kind, text in (("text", "hello <&> über\n"), ("json", '{"a": [1, 2]}'), ("binary", "\x01bytes")):
        said = sender.ctl("send-message", sender.target(receiver), "--data", text, "--type", kind)
        # Before 1.14 messages have no ids.
        expect_equal((said["ack"], said.get("tagged", node.older_than(1, 14))), (f"ACK {kind.upper()} {len(text.encode())} bytes", True), f"{kind}: {said}")
        got = newest(receiver)
        expect_equal((got["type"], got["bytes"], got["from"]), (kind.upper(), len(text.encode()), sender.address), f"{kind}: {got}")
        if not node.older_than(1, 14):
            expect_equal(got["message_id"], said["message_id"], f"{kind}: {got}")
        if kind != "binary":
            expect_equal(got["data"], text, f"the content of {kind}")


@both_ways("many messages, one connection")
def count(_world, sender, receiver):
    said = sender.ctl("send-message", sender.target(receiver), "--data", "again", "--count", "5", "--reuse-conn")
    expect_equal([result.get("ack") for result in said["results"]], ["ACK TEXT 5 bytes"] * 5, f"what came back: {said}")


@both_ways("the reply to a message is found by its id")
def reply(world, asker, other):
    if node.older_than(1, 14):
        raise tap.Skip("this version knows no replies")
    before = newest(other)
    process = world.spawn(asker.host, *asker_words(asker), "send-message", asker.target(other), "--data", "question", "--wait=30s",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    question = wait_until(lambda: (row := newest(other)) != before and row, 20, "the question arrives")
    other.ctl("send-message", other.target(asker), "--data", "answer", "--reply-to", question["message_id"])
    out, err = process.communicate(timeout=40)
    expect_equal(process.returncode, 0, f"exit: {err}")
    data = json.loads(out)["data"]
    expect_equal((data["reply"]["data"], data["reply"]["reply_to"]), ("answer", question["message_id"]), f"the reply: {data}")


def asker_words(asker):
    """The words that run its pilotctl, for what has to run beside the case."""
    if asker.kind == "ours":
        return ["pilotctl", "--json"]
    return [*asker._environment(), "go/pilotprotocol/bin/pilotctl", "--json"]  # pylint: disable=protected-access


@both_ways("a file comes with its digest")
def files(world, sender, receiver):
    wanted = blob(world, sender.host, "file.bin", f"file of {sender.kind}")
    said = sender.ctl("send-file", sender.target(receiver), "file.bin", timeout=120)
    print(f"# figure: send-file {sender.kind} to {receiver.kind}: {said['bytes']} bytes in {said['elapsed_ms']} ms", flush=True)
    expect_equal((said["transport"], said["verified"], said["sha256"]), ("filestream", True, wanted), f"what send-file says: {said}")
    expect(wanted in received_digests(world, receiver.host), "the file is not there")
    names = [file["name"] for file in receiver.ctl("received")["files"]]
    expect(any(name.startswith("file-") and name.endswith(".bin") for name in names), f"names: {names}")


class Standing:
    """For how long what a function answers has been the same."""

    def __init__(self, function):
        self.function, self.last, self.since = function, None, 0

    def seconds(self):
        answer = self.function()
        if answer != self.last:
            self.last, self.since = answer, time.monotonic()
        return time.monotonic() - self.since


def open_exchanges():
    return [stream for stream in nodes["ours"].ctl("connections")["connections"]
            if 1001 in (stream["local_port"], stream["remote_port"]) and stream["state"] == "ESTABLISHED"]


@both_ways("an interrupted file is continued")
def resume(world, sender, receiver):
    wanted = blob(world, sender.host, "long.bin", f"long file of {sender.kind}")
    world.wire(sender.host, {"rate": 30})
    partial = "find .pilot/received/.partial -type f -printf '%s\\n' 2>/dev/null; :"
    process = world.spawn(sender.host, *asker_words(sender), "send-file", sender.target(receiver), "long.bin", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: sum(map(int, world.run(receiver.host, "sh", "-c", partial).stdout.split())) > 1_000_000, 30, "some of it is there")
    # Its own pilotctl alone: that of the other kind runs on another host.
    world.run(sender.host, "pkill", "-KILL", "-x", "pilotctl", user="root")
    process.communicate(timeout=30)
    # What was under way still comes; a file that still comes is not continued, but begun beside it. The wire stays until then: what is on it when it is
    # taken away is lost, and Go does not repeat its FIN for long.
    size = Standing(lambda: world.run(receiver.host, "sh", "-c", partial).stdout)
    wait_until(lambda: size.seconds() > 3 and (receiver.kind == "ours" or not open_exchanges()), 40, "nothing more comes", every=0.5)
    world.wire(sender.host, {}, clear=True)
    said = wait_until(lambda: sender.try_ctl("send-file", sender.target(receiver), "long.bin", timeout=120), 60, "it is sent again", every=1)
    print(f"# figure: {said['bytes_resumed']} bytes were there", flush=True)
    expect(0 < said["bytes_resumed"] < said["bytes"], f"what send-file says: {said}")
    expect(wanted in received_digests(world, receiver.host), "the file is not there")


@both_ways("as one frame, as to an old peer")
def one_frame(world, sender, receiver):
    write_file(world, sender.host, "small.txt", b"as one frame")
    said = sender.ctl("send-file", sender.target(receiver), "small.txt", "--no-stream", timeout=60)
    expect_equal(said.get("ack"), "ACK FILE 12 bytes", f"what send-file says: {said}")
    expect(hashlib.sha256(b"as one frame").hexdigest() in received_digests(world, receiver.host), "the file is not there")


node.main(suite)
