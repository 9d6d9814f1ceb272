#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Go daemons on our rendezvous, over plain TCP: they register, stay, are named, show and hide themselves, find each other and go direct."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import player, tap  # noqa: E402
from labkit.tap import expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402
from node import Go, Ours, ask_and_approve  # noqa: E402

suite = tap.Suite("rendezvous", hosts=("alpha", "beta", "gamma"), daemons=False)
nodes = {}
rendezvous = {}


def found(asker, name):
    """What the asker finds under a host name: an id, or None."""
    done = asker.try_ctl("find", name)
    return done["node_id"] if done else None


@suite.first("Go daemons register beside ours, each with an id of its own")
def register(world):
    rendezvous["pid"] = world.start_rendezvous()
    nodes["first"] = Go(world, "alpha").start()
    nodes["second"] = Go(world, "beta").start()
    nodes["ours"] = Ours(world, "gamma").start()
    expect_equal([each.id for each in nodes.values()], [1, 2, 3], "the node ids")
    for each in (nodes["first"], nodes["second"]):
        info = each.ctl("info")
        expect_equal((info["address"], info["hostname"]), (each.address, f"agent-{each.host}"), "what it says of itself")


@suite.case("a private Go node is found by nobody, a public one by everybody, and private again by nobody")
def visibility(_world):
    go = nodes["first"]
    for asker in (nodes["second"], nodes["ours"]):
        expect_equal(found(asker, "agent-alpha"), None, f"found by {asker.host}")
    go.ctl("set-public")
    expect_equal(found(nodes["second"], "agent-alpha"), go.id, "found by Go")
    go.ctl("set-private")
    # Both kinds remember for a while what they found once: ask one that did not.
    expect_equal(found(nodes["ours"], "agent-alpha"), None, "found by ours")


@suite.case("a Go node changes its host name")
def hostname(_world):
    go = nodes["second"]
    go.ctl("set-public")
    go.ctl("set-hostname", "another-name")
    for asker in (nodes["first"], nodes["ours"]):
        wait_until(lambda: found(asker, "another-name") == go.id, 20, f"found by {asker.host}")  # pylint: disable=cell-var-from-loop
        expect_equal(found(asker, "agent-beta"), None, f"its old name, asked by {asker.host}")


@suite.case("two Go nodes trust each other, ping, and go direct through their NATs")
def direct(_world):
    first, second = nodes["first"], nodes["second"]
    ask_and_approve(first, second)
    first.round_trips(second)

    def both_direct():
        # Go looks for the direct way every 15 s, and only to a peer it has something to say to.
        first.answers(second)
        second.answers(first)
        return first.path_to(second) == "direct" and second.path_to(first) == "direct"

    wait_until(both_direct, 180, "both are direct", every=1)


@suite.case("a Go node that restarts keeps its id", needs=[direct])
def restart(_world):
    go = nodes["first"]
    before = go.id
    go.stop()
    go.start()
    expect_equal(go.id, before, "the id")
    nodes["second"].answers(go)


@suite.case("the rendezvous restarts: Go nodes come back by themselves, with names and trust", needs=[hostname, direct])
def outage(world):
    player.kill(world, "net", rendezvous["pid"])
    rendezvous["pid"] = world.start_rendezvous()
    # What a Go daemon asks the registry itself is answered again.
    wait_until(lambda: found(nodes["first"], "another-name") == nodes["second"].id, 90, "a Go node asks the new rendezvous", every=1)
    expect_equal(found(nodes["ours"], "another-name"), nodes["second"].id, "what ours finds")
    nodes["first"].answers(nodes["second"])
    expect_equal(nodes["second"].id in nodes["first"].trusted(), True, "trust of the Go nodes")


node.main(suite)
