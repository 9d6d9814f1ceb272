#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two symmetric NATs: nothing but the relay works, and it works."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import (ALPHA, BETA, address, fetch_page, gateway_start, kill, make_trust, mappings, mean_datagram, pilotctl, serve, set_mtu,  # noqa: E402
                           write_file)
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

suite = tap.Suite("relay", nats={"alpha": "symmetric", "beta": "symmetric"})
PAGE = "<p>through the relay\n"
DIGEST = 'curl -sS --max-time 50 "http://10.4.0.1:8080/big" | sha256sum'


def peer(world, host, node):
    return next(one for one in pilotctl(world, host, "peers")["peers"] if one["node_id"] == node)


def fetch_big(world):
    return world.run("alpha", "sh", "-c", DIGEST).stdout.split()[0]


@suite.first("the page comes, and the path is shown as relay")
def page(world):
    make_trust(world)
    world.run("beta", "mkdir", "-p", "www")
    write_file(world, "beta", "www/index.html", PAGE)
    serve(world, "beta", 8080)
    gateway_start(world, "--ports", "8080", address(BETA))
    expect_equal(fetch_page(world), PAGE, "the page")
    expect_equal(peer(world, "alpha", BETA)["path"], "relay", "the path of beta at alpha")
    expect_equal(peer(world, "beta", ALPHA)["path"], "relay", "the path of alpha at beta")
    expect_equal(mappings(world)["10.4.0.1"]["path"], "relay", "the path of the mapping")


@suite.case("20 MB through the relay have the right SHA-256")
def big(world):
    world.run("beta", "sh", "-c", "head -c 20000000 /dev/urandom >www/big")
    expect_equal(fetch_big(world), world.run("beta", "sha256sum", "www/big").stdout.split()[0], "the digest")


def reassembled(world, host):
    """How many pieces of datagrams the host has got."""
    names, values = (line.split() for line in world.run(host, "grep", "^Ip:", "/proc/net/snmp").stdout.splitlines())
    return int(values[names.index("ReasmReqds")])


@suite.case("segments through the relay are as large as both its ways carry, and none is cut", needs=[big])
def path_mtu(world):
    wanted = world.run("beta", "sha256sum", "www/big").stdout.split()[0]

    def is_between(least, most):
        got, size = mean_datagram(world, lambda: fetch_big(world))
        expect_equal(got, wanted, "the digest")
        print(f"# datagrams of {size:.0f} bytes in the mean", flush=True)
        return least < size <= most

    wait_until(lambda: is_between(1380, 1472), 60, "segments as large as Ethernet carries")
    try:
        # Only behind the relay, whose system would cut what is larger.
        set_mtu(world, 1400, ["router-alpha"])

        def is_settled():
            before = reassembled(world, "alpha")
            return is_between(1300, 1372) and reassembled(world, "alpha") == before

        wait_until(is_settled, 60, "segments as large as the narrower way carries, and none in pieces")
    finally:
        set_mtu(world, 1500, ["router-alpha"])


@suite.case("a rendezvous that starts anew relays again by itself")
def restart(world):
    kill(world, "net", world.run("net", "pgrep", "-x", "pilot-rendezvou").stdout.strip())
    world.start_rendezvous()
    for host in ("alpha", "beta"):
        world.wait_online(host, 60)
    wait_until(lambda: fetch_page(world, seconds=5) == PAGE, 30, "the page comes again")
    expect(peer(world, "alpha", BETA)["path"] == "relay", "the path is no relay any more")


suite.main()
