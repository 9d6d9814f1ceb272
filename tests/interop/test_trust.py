#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trust between our node and a Go node, asked for from either side: relayed by our rendezvous while both are private, direct while both are public."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import tap  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402
from node import REQUEST_SECONDS, TRUST_SECONDS, Go, Ours, ask_and_approve  # noqa: E402

suite = tap.Suite("trust", hosts=("alpha", "beta"), daemons=False)
nodes = {}
# asker, granter
DIRECTIONS = (("ours", "Go"), ("Go", "ours"))


def both_ways(title):
    """A case for each direction, the asker first."""
    def add(function):
        for asker, granter in DIRECTIONS:
            suite.case(f"{asker} to {granter}: {title}")(lambda world, a=asker, g=granter: function(nodes[a], nodes[g]))
        return function
    return add


revoked_at = {}


def forget(first, second):
    """Ends the trust of two nodes; both must know within 5 s."""
    # Go's messages tell whole seconds: two revocations in one second are the same bytes, and the second is taken for a copy of the first.
    wait_until(lambda: int(time.time()) > revoked_at.get(first.id, 0), 3, "another second begins")
    first.ctl("untrust", str(second.id))
    revoked_at[first.id] = int(time.time()) + 1
    first.trusts_not(second)
    second.trusts_not(first)


@suite.first("both register on our rendezvous")
def register(world):
    world.start_rendezvous()
    nodes["ours"] = Ours(world, "alpha").start()
    nodes["Go"] = Go(world, "beta").start()
    expect_equal([each.id for each in nodes.values()], [1, 2], "the node ids")


@both_ways("private: asked, pending, approved, untrusted by the one who asked")
def relayed(asker, granter):
    ask_and_approve(asker, granter)
    expect(asker.id not in granter.pending(), "the request is pending no more")
    asker.round_trips(granter)
    granter.round_trips(asker)
    forget(asker, granter)


@both_ways("private: asked again after untrust, untrusted by the one who approved")
def again(asker, granter):
    ask_and_approve(asker, granter)
    asker.round_trips(granter)
    forget(granter, asker)


@both_ways("private: a request that is repeated stays one, and is rejected")
def rejected(asker, granter):
    for _ in range(2):
        if asker.kind == "ours":
            asker.ctl("handshake", str(granter.id), "once more")
        else:
            # Go's own pilotctl waits for the direct way to fail, and may tell that the registry has the request already.
            asker.try_ctl("handshake", str(granter.id), "once more")
    wait_until(lambda: asker.id in granter.pending(), REQUEST_SECONDS, "the request arrives")
    expect_equal(len(granter.pending()), 1, "the requests")
    granter.ctl("reject", str(asker.id), "not today")
    if asker.kind == "ours":
        # Else the next case's request would meet one that still waits, and be approved by itself.
        wait_until(lambda: not asker.ctl("pending", "--outgoing")["outgoing"], 2 * TRUST_SECONDS, "the rejection arrives")

    def gone():
        if asker.id in granter.pending() and granter.kind != "ours":
            # Go takes a copy that comes by the other way after its rejection for a new request (docs/protocol-findings.md).
            granter.try_ctl("reject", str(asker.id), "not today")
        return asker.id not in granter.pending()

    wait_until(gone, TRUST_SECONDS, "the request is gone", every=0.5)
    expect(granter.id not in asker.trusted() and asker.id not in granter.trusted(), "a rejected request made trust")


@suite.case("private: each asks the other, and nobody has to approve")
def mutual(_world):
    ours, go = nodes["ours"], nodes["Go"]
    ours.ctl("handshake", str(go.id), "me too")
    wait_until(lambda: ours.id in go.pending(), REQUEST_SECONDS, "the request arrives")
    go.ctl("handshake", str(ours.id), "me too")
    ours.trusts(go, 2 * TRUST_SECONDS)
    go.trusts(ours)
    ours.round_trips(go)
    forget(go, ours)


@suite.case("private: both ask in the same moment, and nobody has to approve")
def same_moment(_world):
    ours, go = nodes["ours"], nodes["Go"]
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(ours.ctl, "handshake", str(go.id), "now"), pool.submit(go.try_ctl, "handshake", str(ours.id), "now")]
    for each in asked:
        each.result()
    ours.trusts(go, 2 * TRUST_SECONDS)
    go.trusts(ours)
    go.round_trips(ours, 2)
    expect_equal((ours.pending(), go.pending()), (set(), set()), "requests that wait")
    forget(ours, go)


@suite.case("both go public")
def public(_world):
    for each in nodes.values():
        each.ctl("set-public")


@both_ways("public: asked, pending, approved, untrusted by the one who asked")
def direct(asker, granter):
    ask_and_approve(asker, granter)
    asker.round_trips(granter)
    granter.round_trips(asker)
    forget(asker, granter)


@both_ways("public: asked again after untrust")
def direct_again(asker, granter):
    ask_and_approve(asker, granter)
    forget(granter, asker)


@suite.case("a second untrust says that there was no trust")
def untrust_twice(_world):
    for each, other in ((nodes["ours"], nodes["Go"]), (nodes["Go"], nodes["ours"])):
        expect("not trusted" in (said := each.fails("untrust", str(other.id))), f"the second untrust says why: {said}")


node.main(suite)
