#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What takes minutes: a connection that nobody uses for longer than Go lets one of its own live, and then is used again; a way that is gone for longer
than the eight tries of the Go programs last."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import tap  # noqa: E402
from labkit.player import gateway_start  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402
from node import Go, Ours, ask_and_approve  # noqa: E402

suite = tap.Suite("idle", hosts=("alpha", "beta", "gamma"), daemons=False)
IDLE_SECONDS, OUTAGE_SECONDS = 300, 80
STORE, MIB = 4001, 32
# To both ends of a transfer: an outage is no reason to give up.
PATIENT = ("--stuck", "250")
nodes = {}
# It has its outage while the other is idle.
OUTAGES = ThreadPoolExecutor(1)


@suite.first("ours and two Go nodes trust each other")
def register(world):
    world.start_rendezvous()
    nodes["ours"] = ours = Ours(world, "alpha").start()
    for host in ("beta", "gamma"):
        nodes[host] = Go(world, host).start()
        ask_and_approve(ours, nodes[host])
    nodes["gamma"].serve(STORE, *PATIENT, "serve", str(STORE))
    gateway_start(world, "--ports", f"7,{STORE}", nodes["beta"].address, nodes["gamma"].address)


def outage(world):
    """A transfer to gamma, whose wire is cut in the middle of it; answers what the client saw."""
    ours = nodes["ours"]
    world.wire("gamma", {"rate": 40})
    with ThreadPoolExecutor() as pool:
        transfer = pool.submit(ours.stream, *PATIENT, "put", "10.4.0.2", str(STORE), str(MIB), timeout=OUTAGE_SECONDS + 150)
        wait_until(lambda: any(stream["bytes_sent"] > 4 << 20 for stream in ours.ctl("connections")["connections"]), 60, "the transfer is under way")
        world.wire("gamma", {"loss": 100})
        time.sleep(OUTAGE_SECONDS)
        expect(not transfer.done(), "the transfer ended while there was no way")
        world.wire("gamma", {"loss": 0})
        return transfer.result()


@suite.case("an echo from either side answers after five minutes of silence")
def idle(world):
    ours, go = nodes["ours"], nodes["beta"]
    held = {}
    for name, each, address in (("ours", ours, "10.4.0.1"), ("Go", go, ours.address)):
        held[name] = world.spawn(each.host, *each.stream_words("hold", address, "7"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in ("before\n", "after\n"):
        for name, process in held.items():
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
            expect_equal(answer and json.loads(answer)["received"], line, f"{name}: “{line.strip()}”")
        if line == "before\n":
            nodes["outage"] = OUTAGES.submit(outage, world)
            time.sleep(IDLE_SECONDS)
    for process in held.values():
        process.stdin.close()
        process.wait(30)


@suite.case(f"ours to Go: {MIB} MiB are through though the way was gone for {OUTAGE_SECONDS} s in the middle")
def through_an_outage(_world):
    seen = nodes["outage"].result()
    expect_equal(seen["received"], seen["sent"], "the digest that the server saw")
    expect(seen["seconds"] > OUTAGE_SECONDS, f"there was no outage: {seen}")


node.main(suite)
