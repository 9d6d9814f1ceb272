#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What survives: a restart, a kill."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import (ALPHA, BETA, address, fetch_page, gateway_start, kill, make_trust, mappings, network_state, pilotctl,  # noqa: E402
                           refused, restart_daemon, serve, trusted_ids, write_file)
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
    wait_until(lambda: network_state(world, "alpha") == before, 20, "the same addresses, routes and rules")
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


def helper_pid(world):
    return world.run("alpha", "pgrep", "-x", "pilot-helper", user="root").stdout.strip()


def nothing_of_the_gateway(world):
    state = network_state(world, "alpha")
    expect("10.9.0.77" in state and "table ip mine" in state, "a foreign address or rule is gone")
    expect("10.4.0.1/" not in state and "pilot" not in state, f"something of the gateway is left: {state}")


@suite.case("daemon and helper both killed: sudo gateway stop takes away what is theirs, and says when there is nothing")
def nobody_left(world):
    kill(world, "alpha", helper_pid(world), "KILL")
    kill(world, "alpha", pilotctl(world, "alpha", "daemon", "status")["pid"], "KILL")
    expect("10.4.0.1/" in network_state(world, "alpha"), "the address went by itself: nothing is tested")
    refused(world, "alpha", "not_running", "gateway", "stop")
    expect_equal(pilotctl(world, "alpha", "gateway", "stop", sudo=True), {"left_behind": True}, "what stop says")
    nothing_of_the_gateway(world)
    refused(world, "alpha", "not_running", "gateway", "stop", sudo=True)
    # With a daemon stop forgets the mappings, and so it does without.
    world.start_daemon("alpha")
    refused(world, "alpha", "not_running", "gateway", "list")


@suite.case("no daemon: gateway stop forgets the mappings of one that was stopped, without root where no address is left")
def nobody_there(world):
    pilotctl(world, "alpha", "gateway", "start", "--subnet", "127.77.0.0/16", "--ports", "8080", address(BETA))
    pilotctl(world, "alpha", "daemon", "stop")
    expect_equal(pilotctl(world, "alpha", "gateway", "stop"), {"left_behind": True}, "what stop says")
    refused(world, "alpha", "not_running", "gateway", "stop")


@suite.case("the helper killed alone: sudo gateway stop ends the gateway, and a start afterwards works")
def helper_killed(world):
    world.start_daemon("alpha")
    refused(world, "alpha", "not_running", "gateway", "list")
    gateway_start(world, "--ports", "8080", address(BETA))
    expect_equal(fetch_page(world), "page", "the page")
    kill(world, "alpha", helper_pid(world), "KILL")
    refused(world, "alpha", "permission_denied", "gateway", "stop")
    pilotctl(world, "alpha", "gateway", "stop", sudo=True)
    nothing_of_the_gateway(world)
    refused(world, "alpha", "not_running", "gateway", "list")
    gateway_start(world, "--ports", "8080", address(BETA))
    expect_equal(fetch_page(world), "page", "the page")


suite.main()
