#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What survives: a restart, a kill."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import (ALPHA, BETA, address, fetch_page, gateway_start, kill, make_trust, mappings, network_state, pilotctl,  # noqa: E402
                           restart_daemon, serve, trusted_ids, write_file)
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

suite = tap.Suite("restart")


@suite.first("trust and mappings survive a restart of either daemon")
def restart(world):
    make_trust(world)
    write_file(world, "beta", "index.html", "page")
    serve(world, "beta", 8080, folder=".")
    gateway_start(world, "--ports", "8080", address(BETA))
    expect_equal(fetch_page(world), "page", "the page")
    for host in ("alpha", "beta"):
        restart_daemon(world, host)
        expect_equal(trusted_ids(world, "alpha"), {BETA}, f"whom alpha trusts after a restart of {host}")
        expect_equal(trusted_ids(world, "beta"), {ALPHA}, f"whom beta trusts after a restart of {host}")
        expect_equal({ip: m["pilot_addr"] for ip, m in mappings(world).items()}, {"10.4.0.1": address(BETA)}, "the mappings")
        expect_equal(fetch_page(world), "page", f"the page after a restart of {host}")


@suite.case("after kill -9 the same mappings work and nothing foreign was touched")
def killed(world):
    world.run("alpha", "ip", "addr", "add", "10.9.0.77/32", "dev", "lo", user="root")
    world.run("alpha", "nft", "add", "table", "ip", "mine", user="root")
    world.run("alpha", "nft", "add", "chain", "ip", "mine", "c", user="root")
    before = network_state(world, "alpha")
    restart_daemon(world, "alpha", signal="KILL")
    expect_equal(set(mappings(world)), {"10.4.0.1"}, "the mappings")
    expect_equal(fetch_page(world), "page", "the page")
    wait_until(lambda: network_state(world, "alpha") == before, 5, "the same addresses, routes and rules")
    pilotctl(world, "alpha", "extras", "gateway", "stop", sudo=True)
    after = network_state(world, "alpha")
    expect("10.9.0.77" in after and "table ip mine" in after, "a foreign address or rule is gone")
    expect("10.4.0.1/" not in after and "pilot" not in after, f"something of the gateway is left: {after}")


@suite.case("a trust store moves with the node: restart of both at once")
def both(world):
    gateway_start(world, "--ports", "8080", address(BETA))
    for host in ("alpha", "beta"):
        kill(world, host, pilotctl(world, host, "daemon", "status")["pid"], "KILL")
    for host in ("alpha", "beta"):
        world.start_daemon(host)
    expect_equal(fetch_page(world), "page", "the page")


suite.main()
