#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages and files between the real programs: replies, a kill in the middle on either side, a full disk, who may not."""

import hashlib
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import ALPHA, BETA, daemon_stop, kill, make_trust, pilotctl, refused, write_file  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import UID, wait_until  # noqa: E402

suite = tap.Suite("exchange")
PARTIALS = ".pilot/received/.partial"
SIZE = 20_000_000


def received_digests(world, host="beta"):
    return set(world.run(host, "sh", "-c", "cd .pilot/received && find . -maxdepth 1 -type f -exec sha256sum {} + | cut -c1-64").stdout.split())


def partial_bytes(world, host="beta"):
    said = world.run(host, "sh", "-c", f"find {PARTIALS} -type f -printf '%s\\n' 2>/dev/null; :").stdout.split()
    return sum(int(size) for size in said)


def make_blob(world, name, seed, host="alpha"):
    """A file of its own content; answers its digest."""
    block = hashlib.sha256(str(seed).encode()).digest() * 3125
    data = b"".join(number.to_bytes(8, "big") + block for number in range(SIZE // (len(block) + 8) + 1))[:SIZE]
    write_file(world, host, name, data)
    return hashlib.sha256(data).hexdigest()


def send_in_background(world, name):
    return world.spawn("alpha", "pilotctl", "--json", "send-file", str(BETA), name, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@suite.first("a message, and the reply that names it")
def messages(world):
    make_trust(world)
    asker = world.spawn("alpha", "pilotctl", "--json", "send-message", str(BETA), "--data", "the question", "--wait", "30s",
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    question = wait_until(lambda: pilotctl(world, "beta", "inbox")["messages"], 20, "the question arrives")[0]
    expect_equal((question["preview"], question["type"], question["bytes"]), ("the question", "TEXT", 12), "what arrived")
    pilotctl(world, "beta", "send-message", str(ALPHA), "--data", "about something else", "--reply-to", "other")
    pilotctl(world, "beta", "send-message", str(ALPHA), "--data", "the answer", "--reply-to", question["id"])
    out, err = asker.communicate(timeout=40)
    expect_equal(asker.returncode, 0, f"exit of the asker: {err}")
    data = json.loads(out)["data"]
    expect_equal((data["ack"], data["tagged"], data["reply"]["data"]), ("ACK TEXT 12 bytes", True, "the answer"), "the receipt and the reply")
    expect_equal((data["message_id"], data["reply"]["reply_to"]), (question["message_id"], question["message_id"]), "the ids")
    modes = world.run("alpha", "stat", "-c", "%a", ".pilot/inbox", f".pilot/inbox/{data['reply']['id']}.json").stdout
    expect_equal(modes, "700\n600\n", "the modes")
    # Root looks after it as the user whose it is.
    expect_equal(pilotctl(world, "alpha", "inbox", sudo=True), pilotctl(world, "alpha", "inbox"), "what sudo shows of the inbox")


@suite.case("what cannot be sent is refused, and says why")
def refusals(world):
    refused(world, "alpha", "invalid_argument", "send-message", str(BETA))
    refused(world, "alpha", "invalid_argument", "send-message", str(BETA), "--data", "x", "--type", "file")
    refused(world, "alpha", "invalid_argument", "send-message", str(ALPHA), "--data", "x", "--no-auto-handshake")
    refused(world, "alpha", "trust_required", "send-message", "77", "--data", "x")
    # Who asks for a node that is not there has no peer more than is listed.
    info = pilotctl(world, "alpha", "info")
    listed = {peer["node_id"] for peer in pilotctl(world, "alpha", "peers")["peers"]}
    expect_equal(({peer["node_id"] for peer in info["peer_list"]}, info["peers"]), (listed, len(listed)), "the peers")
    refused(world, "alpha", "timeout", "send-message", str(BETA), "--data", "x", "--wait", "1s")
    refused(world, "alpha", "not_found", "send-file", str(BETA), "no-such-file")
    refused(world, "alpha", "invalid_argument", "send-file", str(BETA), ".pilot")
    refused(world, "alpha", "not_found", "inbox", "read", "TEXT-20000101-000000.000-000001")
    refused(world, "alpha", "not_found", "inbox", "read", "../identity")


@suite.case("another user of the machine reads nothing and sends nothing")
def other_user(world):
    bus = f"/run/user/{UID}/pilot/bus"
    # The folder keeps others out already; a socket elsewhere would not.
    world.run("alpha", "chmod", "711", f"/run/user/{UID}", f"/run/user/{UID}/pilot", user="root")
    refused(world, "alpha", "permission_denied", "--bus", bus, "send-message", str(BETA), "--data", "x", "--no-auto-handshake", user="other")
    refused(world, "alpha", "permission_denied", "--bus", bus, "inbox", user="other")


@suite.case("the receiver is killed in the middle of 20 MB: the sender goes on by itself")
def receiver_killed(world):
    wanted = make_blob(world, "one", 1)
    world.wire("alpha", {"rate": 60})
    sender = send_in_background(world, "one")
    wait_until(lambda: partial_bytes(world) > 2_000_000, 20, "some of it is there")
    kill(world, "beta", pilotctl(world, "beta", "daemon", "status")["pid"], "KILL")
    expect(sender.poll() is None, "the sender has ended")
    world.start_daemon("beta")
    out, err = sender.communicate(timeout=90)
    expect_equal(sender.returncode, 0, f"exit of send-file: {err}")
    data = json.loads(out)["data"]
    print(f"# {data['bytes_resumed']} of {SIZE} bytes were there when it went on; {data['elapsed_ms']} ms in all", flush=True)
    expect(0 < data["bytes_resumed"] < SIZE and data["verified"], f"what send-file says: {data}")
    expect(wanted in received_digests(world), "the digest")
    expect_equal(partial_bytes(world), 0, "what is left in part")


@suite.case("the sender is killed in the middle of 20 MB: the same command goes on where it was")
def sender_killed(world):
    wanted = make_blob(world, "two", 2)
    sender = send_in_background(world, "two")
    wait_until(lambda: partial_bytes(world) > 2_000_000, 20, "some of it is there")
    kill(world, "alpha", pilotctl(world, "alpha", "daemon", "status")["pid"], "KILL")
    out, err = sender.communicate(timeout=30)
    expect(sender.returncode == 1 and out == "" and json.loads(err)["code"] == "not_running", f"send-file without a daemon: {sender.returncode} {out!r} {err!r}")
    world.start_daemon("alpha")
    data = pilotctl(world, "alpha", "send-file", str(BETA), "two", timeout=90)
    print(f"# {data['bytes_resumed']} of {SIZE} bytes were there", flush=True)
    expect(0 < data["bytes_resumed"] < SIZE, f"what send-file says: {data}")
    expect(wanted in received_digests(world), "the digest")
    world.wire("alpha", {}, clear=True)


@suite.case("interrupted with Ctrl-C it ends on both sides, and what came stays")
def interrupted(world):
    before = received_digests(world)
    make_blob(world, "three", 3)
    world.wire("alpha", {"rate": 60})
    sender = send_in_background(world, "three")
    wait_until(lambda: partial_bytes(world) > 1_000_000, 20, "some of it is there")
    world.run("alpha", "pkill", "-INT", "-x", "pilotctl", user="root")
    sender.communicate(timeout=30)
    world.wire("alpha", {}, clear=True)
    # What the streams held already still arrives.
    wait_until(lambda: not [stream for stream in pilotctl(world, "beta", "connections")["connections"]
                            if stream["local_port"] == 1001 and stream["state"] == "ESTABLISHED"], 30, "the connection ends")
    expect(0 < partial_bytes(world) < SIZE, f"what came in part: {partial_bytes(world)}")
    expect_equal(received_digests(world), before, "files that are there")
    expect_equal(pilotctl(world, "beta", "received", "--clear")["cleared_partial"], 1, "partials that --clear deletes")


@suite.case("disk full: the sender is told, nothing is left, and with room again it works")
def full(world):
    make_blob(world, "four", 4)
    world.run("beta", "sh", "-c", "mount -t tmpfs -o size=24m,mode=700,uid=1000,gid=1000 tmpfs ~user/.pilot/received", user="root")
    try:
        message = refused(world, "alpha", "refused", "send-file", str(BETA), "four")
        expect("disk full" in message, f"the message: {message}")
        expect_equal(world.run("beta", "sh", "-c", "find .pilot/received -type f | wc -l").stdout.strip(), "0", "files left")
        world.run("beta", "mount", "-o", "remount,size=60m", "/home/user/.pilot/received", user="root")
        expect(pilotctl(world, "alpha", "send-file", str(BETA), "four")["verified"], "with room")
    finally:
        world.run("beta", "umount", "-l", "/home/user/.pilot/received", user="root")


@suite.case("without the daemon inbox and received still read; with no_dataexchange nothing is taken")
def switched_off(world):
    daemon_stop(world, "beta")
    expect(pilotctl(world, "beta", "inbox")["total"] > 0, "the inbox without a daemon")
    pilotctl(world, "beta", "received")
    pilotctl(world, "beta", "inbox", "--clear")
    expect_equal(pilotctl(world, "beta", "inbox")["total"], 0, "the inbox after --clear")
    world.start_daemon("beta", "--no-dataexchange")
    # The tunnel may still be the old one for a moment.
    wait_until(lambda: "refused" in world.run("alpha", "pilotctl", "--json", "send-message", str(BETA), "--data", "x", check=False).stderr, 30, "it is refused")
    pilotctl(world, "beta", "send-message", str(ALPHA), "--data", "sending goes on")
    refused(world, "beta", "not_supported", "send-message", str(ALPHA), "--data", "x", "--wait", "1s")


suite.main()
