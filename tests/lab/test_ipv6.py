#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""IPv6: hosts that have nothing else, hosts that have both, firewalls that keep state, links of 1280 bytes, who has IPv4 only;
addresses that the router translates."""

import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import ipv6, tap  # noqa: E402
from labkit.player import address, curl, gateway_start, pending_ids, pilotctl, serve, trusted_ids, write_file  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

# What each host has beside 127.0.0.1.
ONLY = {
    "open-a": {},
    "open-b": {"mtu": 1280},
    "wall-a": {"firewall": "stateful"},
    "wall-b": {"firewall": "stateful"},
    "sealed": {"firewall": "udp-blocked"},
    # Nothing but unique local addresses, which the router translates.
    "npt-a": {"translate": "prefix"},
    "npt-b": {"translate": "prefix", "firewall": "stateful"},
    "nat66": {"translate": "masquerade"},
}
BOTH = {"dual-a": {"firewall": "stateful"}, "dual-b": {"firewall": "stateful"}}
HOSTS = (*ONLY, *BOTH, "four")

# Who asks whom, and the way that has to come of it. No way of IPv4 leads from one symmetric NAT to another.
PAIRS = {
    ("open-a", "open-b"): "direct",
    ("wall-a", "wall-b"): "direct",
    ("dual-a", "dual-b"): "direct",
    ("dual-a", "wall-b"): "direct",
    ("four", "wall-b"): "relay",
    ("four", "open-b"): "relay",
    ("sealed", "open-b"): "relay",
    ("npt-a", "npt-b"): "direct",
    ("nat66", "npt-b"): "direct",
    ("wall-a", "nat66"): "direct",
}
PAGES = {"open-b": "::1", "wall-b": "::", "dual-b": "127.0.0.1", "npt-b": "::", "nat66": "::1"}

suite = tap.Suite("ipv6", hosts=HOSTS, daemons=False, nats={"dual-a": "symmetric", "dual-b": "symmetric"})
ids = {}
state = {}


def local_ip(pair):
    """Each gateway maps whom its host asks in their order."""
    return f"10.4.0.{1 + [asked for asker, asked in PAIRS if asker == pair[0]].index(pair[1])}"


def peer(world, host, node):
    return next((one for one in pilotctl(world, host, "peers")["peers"] if one["node_id"] == node), {})


def start_rendezvous(world):
    """On every address of both families, with everything on the TLS port too. Answers what a daemon needs to use that."""
    world.run("net", "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start", user="root")
    world.start_rendezvous("--registry-plain-addr", ":9000", "--compat-addr", ":443", "--tls-cert", "cert.pem", "--tls-key", "key.pem", "--tls-generate",
                           registry=":9443", beacon=":9001")
    ready = wait_until(lambda: re.search(r"\(tls ([0-9a-f]{64})\)", world.run("net", "cat", "rendezvous.log").stdout), 10, "the ready line")
    return ("--transport", "auto", "--compat-beacon", f"wss://[{ipv6.NET}]/v1/compat", "--registry-fingerprint", ready.group(1))


@suite.first("hosts without IPv4, with both, and without IPv6 register at a rendezvous that has both")
def register(world):
    if not ipv6.is_supported():
        raise tap.Skip("this kernel has no IPv6")
    state["network"] = network = ipv6.Network(world)
    for host, how in ONLY.items():
        network.add(host, only=True, **how)
    for host, how in BOTH.items():
        network.add(host, **how)
    compat = start_rendezvous(world)
    for host in ("dual-b", "four"):
        world.run(host, "sh", "-c", f"printf '{ipv6.NET} both\\n192.0.2.1 both\\n' >>/etc/hosts", user="root")

    def start(host):
        if host in ("dual-b", "four"):
            # One of them has to find out, too, that the beacon answers, though not at the first of its addresses.
            world.start_daemon(host, "--registry", "both:9000", "--beacon", "both:9001", *compat if host == "four" else ())
        elif host in BOTH:
            world.start_daemon(host)
        elif host == "open-b":
            # Over TLS, at a literal address too.
            world.start_daemon(host, "--registry", f"[{ipv6.NET}]:9443", "--registry-tls", *compat[-2:], "--beacon", ipv6.BEACON)
        else:
            world.start_daemon(host, "--registry", ipv6.REGISTRY, "--beacon", ipv6.BEACON, *compat if host == "sealed" else ())
        return host, pilotctl(world, host, "info")["node_id"]

    ids.update(world.in_parallel(start, HOSTS))
    for host in ("open-a", "wall-a"):
        expect_equal(world.run(host, "ip", "-4", "-o", "addr", "show", "dev", "eth0").stdout, "", f"IPv4 of {host}")
    expect(pilotctl(world, "dual-b", "info")["node_id"] == ids["dual-b"], "dual-b is there")


@suite.case("the beacon is asked at the address of its name that there is a way to, and says where it sees us")
def beacons(world):
    network = state["network"]
    for host, wanted in (("four", f"{world.outside_address('four')}:"), ("dual-a", f"{world.outside_address('dual-a')}:"),
                         *((host, f"[{network.outside_address(host)}]:") for host in ("dual-b", "wall-a", "npt-b", "nat66"))):
        facts = pilotctl(world, host, "netcheck")
        expect(facts["outside"].startswith(wanted), f"{host} is seen at {facts['outside']}, not {wanted}")
        nat = "[" not in wanted or network.translated.get(host) is not None
        expect_equal((facts["udp"], facts["nat"], facts["mtu"], facts["problems"]), ("open", nat, 1500, []), host)
        expect_equal(facts["transport"], "udp", f"the transport of {host}")
        expect_equal(facts["ipv6"], "" if host == "four" or network.translated.get(host) else network.address(host), f"the IPv6 address of {host}")
    facts = pilotctl(world, "sealed", "netcheck")
    expect_equal((facts["transport"], facts["relay"], facts["problems"]), ("compat", "always", []), "sealed")


@suite.case("each reaches the other with curl: servers on ::1, on [::] and on 127.0.0.1")
def reach(world):
    def publish(host):
        world.run(host, "mkdir", "-p", "www")
        write_file(world, host, "www/index.html", f"<p>{host}\n")
        serve(world, host, 8080, bind=PAGES[host])

    def befriend(pair):
        asker, asked = pair
        pilotctl(world, asker, "handshake", address(ids[asked]), "let me in")
        wait_until(lambda: ids[asker] in pending_ids(world, asked), 30, f"the request of {asker} arrives at {asked}")
        pilotctl(world, asked, "approve", str(ids[asker]))
        wait_until(lambda: ids[asked] in trusted_ids(world, asker), 30, f"the approval of {asked} arrives at {asker}")

    def open_gateway(host):
        gateway_start(world, "--ports", "8080", *(address(ids[asked]) for asker, asked in PAIRS if asker == host), host=host)

    def fetch(pair):
        expect_equal(curl(world, pair[0], f"http://{local_ip(pair)}:8080/", "-f", timeout=40).stdout, f"<p>{pair[1]}\n", f"{pair[0]} to {pair[1]}")

    world.in_parallel(publish, list(PAGES))
    world.in_parallel(befriend, list(PAIRS))
    world.in_parallel(open_gateway, sorted({asker for asker, _ in PAIRS}))
    world.in_parallel(fetch, list(PAIRS))


@suite.case("who both have IPv6 are direct by it, firewalls or not, and whatever family their beacon sees; the others are relayed", needs=[reach])
def paths(world):
    network = state["network"]

    def settle(pair):
        asker, asked = pair

        def settled():
            there, back = peer(world, asker, ids[asked]), peer(world, asked, ids[asker])
            return there.get("path") == back.get("path") == PAIRS[pair] and (there, back)

        there, back = wait_until(settled, 20, f"{asker} to {asked} is {PAIRS[pair]}", every=0.3)
        if PAIRS[pair] == "direct":
            expect(there["endpoint"].startswith(f"[{network.outside_address(asked)}]:"), f"{asker} reaches {asked} at {there['endpoint']}")
            expect(back["endpoint"].startswith(f"[{network.outside_address(asker)}]:"), f"{asked} reaches {asker} at {back['endpoint']}")

    world.in_parallel(settle, list(PAIRS))


@suite.case("8 MB over a link of 1280 bytes, over one of 1500, and from IPv6 to IPv4, have the right SHA-256", needs=[reach])
def bulk(world):
    def carry(pair):
        path = f"big-{pair[0]}"
        world.run(pair[1], "sh", "-c", f"head -c 8000000 /dev/urandom >www/{path}")
        got = world.run(pair[0], "sh", "-c", f"curl -sS --max-time 50 http://{local_ip(pair)}:8080/{path} | sha256sum").stdout.split()[0]
        expect_equal(got, world.run(pair[1], "sha256sum", f"www/{path}").stdout.split()[0], f"{pair[0]} from {pair[1]}")

    def mean(host, before):
        """Of the datagrams that have come to this host since."""
        now = received(host)
        return (now[0] - before[0]) / (now[1] - before[1])

    def received(host):
        counted = pilotctl(world, host, "info")["transports"]["transport-udp"]
        return counted["bytes-received"], counted["datagrams-received"]

    small, full = received("open-a"), received("wall-a")
    world.in_parallel(carry, [("open-a", "open-b"), ("wall-a", "wall-b"), ("four", "wall-b"), ("nat66", "npt-b")])
    # 1152 bytes of payload make datagrams of 1222, those that fill 1500 bytes of IPv6 have 1452: the search for the MTU was right both times.
    small, full = mean("open-a", small), mean("wall-a", full)
    expect(1100 < small <= 1232 and 1300 < full <= 1452, f"datagrams of {small:.0f} and {full:.0f} bytes on links of 1280 and 1500")


@suite.case("another IPv6 address of a host whose beacon sees IPv4: direct again, both ways", needs=[reach])
def readdress(world):
    network, pair = state["network"], ("dual-a", "dual-b")
    network.renumber("dual-a", 0x99)

    def moved():
        curl(world, "dual-a", f"http://{local_ip(pair)}:8080/", "-f", timeout=40)
        there, back = peer(world, "dual-a", ids["dual-b"]), peer(world, "dual-b", ids["dual-a"])
        return there["path"] == back["path"] == "direct" and back["endpoint"].startswith(f"[{network.address('dual-a', 0x99)}]:")

    wait_until(moved, 30, "direct from the new address", every=0.3)


@suite.case("IPv6 that silently leads nowhere any more: the beacon is asked by IPv4, and the page comes by the relay", needs=[reach])
def dead(world):
    state["network"].cut("dual-b")

    def fetched():
        # Whoever dials looks whether his beacon is there, and does not wait until it is time for that.
        world.run("dual-b", "pilotctl", "ping", address(ids["dual-a"]), "--count", "1", "--timeout", "1s", check=False)
        return curl(world, "dual-a", f"http://{local_ip(('dual-a', 'dual-b'))}:8080/", "-f", "--max-time", "2", check=False).stdout == "<p>dual-b\n"

    wait_until(fetched, 90, "the page of dual-b")
    outside = pilotctl(world, "dual-b", "netcheck")["outside"]
    expect(outside.startswith(f"{world.outside_address('dual-b')}:"), f"dual-b is seen at {outside}")


suite.main()
