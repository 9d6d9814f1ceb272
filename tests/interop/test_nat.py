#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The diagonal of the NAT matrix (tests/lab/test_nat.py) with Go nodes on our rendezvous, and ours beside Go behind each kind."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import tap  # noqa: E402
from labkit.tap import expect  # noqa: E402
from node import Go, Ours, ask_and_approve  # noqa: E402

KINDS = {"none": "open", "full-cone": "cone", "restricted": "addr", "port-restricted": "port", "symmetric": "sym"}
# Behind each kind of NAT: two Go nodes, and one of ours.
HOSTS = {f"{who}-{short}": kind for who in ("g", "h", "o") for kind, short in KINDS.items()}
# A Go node looks for the direct way every 15 s, and what it knows of the other's place may be a minute old.
DIRECT_SECONDS = 150

suite = tap.Suite("nat", hosts=tuple(HOSTS), daemons=False, nats=HOSTS)
nodes = {}
waiting = {}


def pairs(left, right):
    return [(nodes[f"{left}-{short}"], nodes[f"{right}-{short}"], kind) for kind, short in KINDS.items()]


@suite.first("behind each kind of NAT two Go nodes and one of ours trust each other and answer")
def reach(world):
    world.start_rendezvous()

    def start(host):
        return (Ours if host.startswith("o") else Go)(world, host).start()

    nodes.update(zip(HOSTS, world.in_parallel(start, list(HOSTS))))

    def meet(pair):
        ask_and_approve(pair[0], pair[1])
        pair[0].answers(pair[1])

    world.in_parallel(meet, pairs("g", "h"))
    world.in_parallel(meet, pairs("o", "h"))


def both_direct(pair):
    first, second, _ = pair
    # Go looks for the direct way only to a peer it has something to say to.
    first.answers(second)
    second.answers(first)
    return first.path_to(second) == second.path_to(first) == "direct"


def go_direct(world, candidates):
    """Waits for all but the symmetric pair, which must stay on the relay; says how long each took."""
    started = time.monotonic()
    left = [pair for pair in candidates if pair[2] != "symmetric"]
    while left and time.monotonic() - started < DIRECT_SECONDS:
        for pair, done in list(zip(left, world.in_parallel(both_direct, left))):
            if done:
                left.remove(pair)
                print(f"# {pair[2]}: direct after {time.monotonic() - started:.1f} s", flush=True)
        time.sleep(1)
    expect(not left, f"not direct within {DIRECT_SECONDS} s: {[pair[2] for pair in left]}")
    for first, second, kind in candidates:
        if kind == "symmetric":
            first.answers(second)
            expect(first.path_to(second) == "relay", f"{kind}: {first.path_to(second)}")


@suite.case("ours and Go behind the same kind of NAT: direct but for two symmetric ones")
def mixed(world):
    go_direct(world, pairs("o", "h"))


@suite.case("two Go nodes behind the same kind of NAT: direct but for two symmetric ones")
def alike(world):
    go_direct(world, pairs("g", "h"))


node.main(suite)
