#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The registry over TLS with a pinned fingerprint, for Go daemons and ours; and two Go daemons with their default flags on one LAN, who go direct."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import player, tap  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402
from node import Go, Ours, ask_and_approve  # noqa: E402

# alpha and neighbour are on one LAN, behind one router.
suite = tap.Suite("lan", hosts=("alpha", "beta"), daemons=False)
PLAIN = "192.0.2.1:9002"
nodes = {}
rendezvous = {}


def start_rendezvous(world):
    rendezvous["pid"] = world.start_rendezvous("--registry-plain-addr", PLAIN, "--tls-cert", "cert.pem", "--tls-key", "key.pem", "--tls-generate")


def start_go(world, host, fingerprint, **how):
    go = Go(world, host)
    go.plain_registry = PLAIN
    return go.start("-registry-tls", "-registry-fingerprint", fingerprint, **how)


@suite.first("over TLS: Go daemons and ours register when the fingerprint is the one that is shown, and find each other")
def register(world):
    start_rendezvous(world)
    said = world.run("net", "cat", "rendezvous.log").stdout
    fingerprint = re.search(r"\b[0-9a-f]{64}\b", said)
    expect(fingerprint, f"the rendezvous shows its fingerprint: {said!r}")
    rendezvous["fingerprint"] = fingerprint[0]
    nodes["first"] = start_go(world, "alpha", fingerprint[0])
    nodes["second"] = start_go(world, "neighbour", fingerprint[0])
    nodes["ours"] = Ours(world, "beta").start("--registry-tls", "--registry-fingerprint", fingerprint[0])
    expect_equal([each.id for each in nodes.values()], [1, 2, 3], "the node ids")
    for asked, asker in (("second", "first"), ("second", "ours"), ("ours", "first")):
        nodes[asked].ctl("set-public")
        expect_equal(nodes[asker].ctl("find", f"agent-{nodes[asked].host}")["node_id"], nodes[asked].id, f"{asker} finds {asked}")


@suite.case("over TLS: a Go daemon with another fingerprint does not register")
def wrong_fingerprint(world):
    other = Go(world, "net")
    try:
        other.start("-registry-tls", "-registry-fingerprint", "0" * 64, seconds=2)
    except node.LabError:
        wait_until(lambda: "certificate fingerprint mismatch" in world.run("net", "cat", ".pilot/pilot.log").stdout, 20, "it says why")
        other.kill()
        expect_equal(nodes["first"].try_ctl("find", "agent-net"), None, "the node that must not be there")
        return
    raise AssertionError("a Go daemon registers though the certificate is another one")


@suite.case("over TLS: trust between ours and Go, asked for on either side, and pings")
def trust(_world):
    ask_and_approve(nodes["ours"], nodes["first"])
    ask_and_approve(nodes["second"], nodes["ours"])
    nodes["ours"].round_trips(nodes["first"], 2)
    nodes["second"].round_trips(nodes["ours"], 2)


@suite.case("two Go daemons on one LAN, with their default flags, go direct")
def one_lan(_world):
    first, second = nodes["first"], nodes["second"]
    ask_and_approve(first, second)

    def both_direct():
        first.answers(second)
        second.answers(first)
        return first.path_to(second) == "direct" and second.path_to(first) == "direct"

    wait_until(both_direct, 60, "both are direct", every=0.5)


@suite.case("over TLS: the rendezvous restarts with the same certificate, and all come back by themselves")
def outage(world):
    player.kill(world, "net", rendezvous["pid"])
    start_rendezvous(world)
    # A new name is nothing that anybody remembers.
    wait_until(lambda: nodes["second"].try_ctl("set-hostname", "after-the-restart"), 90, "a Go node asks the new rendezvous", every=1)
    for asker in ("first", "ours"):
        wait_until(lambda who=asker: (found := nodes[who].try_ctl("find", "after-the-restart")) and found["node_id"] == nodes["second"].id, 90,
                   f"{asker} asks the new rendezvous", every=1)


node.main(suite)
