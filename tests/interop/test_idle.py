#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A connection that nobody uses for five minutes, longer than Go lets one of its own live, and then is used again."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import tap  # noqa: E402
from labkit.player import gateway_start  # noqa: E402
from labkit.tap import expect_equal  # noqa: E402
from node import Go, Ours, ask_and_approve  # noqa: E402

suite = tap.Suite("idle", hosts=("alpha", "beta"), daemons=False)
IDLE_SECONDS = 300


@suite.case("an echo from either side answers after five minutes of silence")
def idle(world):
    world.start_rendezvous()
    ours, go = Ours(world, "alpha").start(), Go(world, "beta").start()
    ask_and_approve(ours, go)
    gateway_start(world, "--ports", "7", go.address)
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
            time.sleep(IDLE_SECONDS)
    for process in held.values():
        process.stdin.close()
        process.wait(30)


node.main(suite)
