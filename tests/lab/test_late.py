#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An approval that comes late. Nearly all of it is waiting, so other tests may run beside it."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import time  # noqa: E402

from labkit import tap  # noqa: E402
from labkit.player import ALPHA, BETA, address, fetch_page, gateway_start, pending_ids, pilotctl, serve, trusted_ids, write_file  # noqa: E402
from labkit.tap import expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

suite = tap.Suite("late")


@suite.case("an approval given long after the request lands within 5 s")
def late(world):
    pilotctl(world, "alpha", "handshake", address(BETA), "whenever you like")
    wait_until(lambda: ALPHA in pending_ids(world, "beta"), 10, "the request arrives")
    # Past the two minutes in which a daemon that has just asked may look more often.
    time.sleep(125)
    pilotctl(world, "beta", "approve", str(ALPHA))
    wait_until(lambda: BETA in trusted_ids(world, "alpha"), 5, "the approval lands")
    write_file(world, "beta", "index.html", "page")
    serve(world, "beta", 8080, folder=".")
    gateway_start(world, "--ports", "8080", address(BETA))
    expect_equal(fetch_page(world), "page", "the page")


suite.main()
