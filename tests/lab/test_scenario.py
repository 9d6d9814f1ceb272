#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What two users do: trust, map, fetch, and what others may not."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import (ALPHA, BETA, GAMMA, address, connect_refused, curl, gateway_start, make_trust, mappings, network_state, pilotctl,  # noqa: E402
                           pending_ids, serve, trusted_ids, write_file)
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

suite = tap.Suite("scenario", chained=True, hosts=("alpha", "beta", "gamma"))
PAGE = "<!doctype html>\n<title>beta</title>\n<p>Hëllo from beta.\n"
before = {}


@suite.case("info names the address")
def info(world):
    for host, node_id in (("alpha", ALPHA), ("beta", BETA), ("gamma", GAMMA)):
        data = pilotctl(world, host, "info")
        expect_equal((data["node_id"], data["address"]), (node_id, address(node_id)), f"info of {host}")
    expect(f"{address(BETA)}" in world.run("beta", "pilotctl", "info").stdout, "the text form names the address")


@suite.case("an untrusted peer is refused at once and the list says why")
def untrusted(world):
    before["alpha"] = network_state(world, "alpha")
    gateway_start(world, "--ports", "8080", address(BETA))
    serve(world, "beta", 8080)
    connect_refused(world, "10.4.0.1", 8080, 0.1)
    expect(mappings(world)["10.4.0.1"].get("last_error"), "gateway list says why")
    pilotctl(world, "alpha", "extras", "gateway", "stop", sudo=True)


@suite.case("handshake, pending, approve")
def trust(world):
    make_trust(world, seconds=5)
    expect_equal(pending_ids(world, "beta"), set(), "what is pending after the approval")
    expect(ALPHA in trusted_ids(world, "beta"), "beta trusts alpha")


@suite.case("the page, byte for byte")
def page(world):
    write_file(world, "beta", "www/index.html", PAGE)
    started = gateway_start(world, "--ports", "80,8080", address(BETA))
    expect_equal([(m["local_ip"], m["pilot_addr"]) for m in started["mappings"]], [("10.4.0.1", address(BETA))], "mappings of start")
    expect_equal(curl(world, "alpha", "http://10.4.0.1:8080/").stdout, PAGE, "the page")
    expect_equal(curl(world, "alpha", "http://10.4.0.1:8080/", "-Acurl-lab").stdout, PAGE, "the page again")



@suite.case("a neighbour that routes through alpha gets no connection")
def neighbour(world):
    done = curl(world, "neighbour", "http://10.4.0.1:8080/", "--connect-timeout", "3", check=False)
    expect(done.returncode in (7, 28), f"curl on the neighbour: exit {done.returncode}, {done.stdout!r}")
    expect_equal(curl(world, "alpha", "http://10.4.0.1:8080/").stdout, PAGE, "the page for alpha itself")


@suite.case("who only asked opened nothing of his own")
def asked_only(world):
    serve(world, "alpha", 8082)
    gateway_start(world, "--ports", "8082", address(ALPHA), host="beta")
    connect_refused(world, "10.4.0.1", 8082, 3, host="beta")
    pilotctl(world, "beta", "extras", "gateway", "stop", sudo=True)


@suite.case("expose opens one port, unexpose closes it")
def expose(world):
    pilotctl(world, "alpha", "expose", str(BETA), "--ports", "8082")
    gateway_start(world, "--ports", "8082", address(ALPHA), host="beta")
    curl(world, "beta", "http://10.4.0.1:8082/", "-f")
    pilotctl(world, "alpha", "unexpose", str(BETA))
    connect_refused(world, "10.4.0.1", 8082, 3, host="beta")
    pilotctl(world, "beta", "extras", "gateway", "stop", sudo=True)


@suite.case("list, map to the next and to a given address, unmap")
def mapping(world):
    expect_equal(set(mappings(world)), {"10.4.0.1"}, "the addresses")
    expect_equal(pilotctl(world, "alpha", "extras", "gateway", "map", "0:0000.0000.0003")["local_ip"], "10.4.0.2", "the next address")
    expect_equal(pilotctl(world, "alpha", "extras", "gateway", "map", "0:0000.0000.0007", "10.4.0.5")["local_ip"], "10.4.0.5", "the given address")
    expect_equal(set(mappings(world)), {"10.4.0.1", "10.4.0.2", "10.4.0.5"}, "the addresses")
    expect_equal(pilotctl(world, "alpha", "extras", "gateway", "unmap", "10.4.0.1"), {"unmapped": "10.4.0.1"}, "unmap")
    expect(curl(world, "alpha", "http://10.4.0.1:8080/", "--connect-timeout", "2", check=False).returncode != 0, "an unmapped address answers")
    expect_equal(set(mappings(world)), {"10.4.0.2", "10.4.0.5"}, "the addresses")


@suite.case("another user of the machine changes nothing")
def other_user(world):
    for words in (("extras", "gateway", "unmap", "10.4.0.2"), ("extras", "gateway", "stop"), ("untrust", str(BETA)), ("daemon", "stop")):
        for bus in ((), ("--bus", "/run/user/1000/pilot/bus")):
            done = world.run("alpha", "pilotctl", "--json", *bus, *words, user="other", check=False)
            expect(done.returncode == 1, f"{' '.join(words)} as the other user: exit {done.returncode}, {done.stdout!r}")
    expect_equal(set(mappings(world)), {"10.4.0.2", "10.4.0.5"}, "the addresses")
    expect(BETA in trusted_ids(world, "alpha"), "alpha trusts beta still")


@suite.case("stop takes away every address and rule of the gateway and no other")
def stop(world):
    pilotctl(world, "alpha", "extras", "gateway", "stop", sudo=True)
    expect_equal(network_state(world, "alpha"), before["alpha"], "addresses, routes and rules")
    data = pilotctl(world, "alpha", "info")
    expect_equal(data["node_id"], ALPHA, "the daemon runs on")


@suite.case("handshake by host name when the peer is public")
def by_name(world):
    pilotctl(world, "gamma", "set-public")
    make_trust(world, granter=("gamma", GAMMA), name="agent-gamma")


@suite.case("several peers in one start, host names too")
def several(world):
    serve(world, "gamma", 8080)
    write_file(world, "gamma", "www/index.html", "gamma")
    started = gateway_start(world, address(BETA), "agent-gamma")
    expect_equal([m["local_ip"] for m in started["mappings"]], ["10.4.0.1", "10.4.0.2"], "the addresses")
    expect_equal(curl(world, "alpha", "http://10.4.0.1:8080/").stdout, PAGE, "the page of beta")
    expect_equal(curl(world, "alpha", "http://10.4.0.2:8080/").stdout, "gamma", "the page of gamma")
    # A first connection may go over the relay while the direct path is tried.
    wait_until(lambda: {m["path"] for m in mappings(world).values()} == {"direct"}, 15, "both paths are direct")


@suite.case("untrust ends access at once")
def untrust(world):
    pilotctl(world, "beta", "untrust", str(ALPHA))
    wait_until(lambda: BETA not in trusted_ids(world, "alpha"), 5, "alpha learns of it")
    connect_refused(world, "10.4.0.1", 8080, 0.1)
    expect_equal(curl(world, "alpha", "http://10.4.0.2:8080/").stdout, "gamma", "the page of gamma")


suite.main()
