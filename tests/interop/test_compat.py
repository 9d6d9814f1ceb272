#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Go daemon in compat mode on our rendezvous: no UDP leaves its network, and it and ours reach each other, over UDP or in compat mode too."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit import tap  # noqa: E402
from labkit.player import gateway_start, kill  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402
from node import Go, Ours, ask_and_approve  # noqa: E402

suite = tap.Suite("compat", hosts=("alpha", "beta", "gamma"), daemons=False, nats={"beta": "udp-blocked", "gamma": "udp-blocked"})
URL, REGISTRY = "wss://net/v1/compat", "net:443"
# The system of each host trusts the certificate, which is for the name "net".
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
CERTIFICATE = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=net "
               "-addext subjectAltName=DNS:net 2>openssl.log && chmod 600 key.pem")
ECHO = "10.4.0.1"
nodes = {}


def start_rendezvous(world):
    world.start_rendezvous("--registry-addr", "192.0.2.1:9443", "--registry-plain-addr", "192.0.2.1:9000", "--compat-addr", "192.0.2.1:443",
                           "--tls-cert", "cert.pem", "--tls-key", "key.pem")


def start_go(go):
    # With a registry over TLS and a compat beacon that is named, "auto" tries UDP, and then this.
    return go.start("-transport", "auto", "-compat-beacon", URL, "-registry", REGISTRY, "-registry-tls", "-registry-trust", "system", seconds=30)


@suite.first("the Go daemon finds that UDP is blocked, and registers in compat mode; so does ours")
def register(world):
    world.run("net", "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start", user="root")
    world.run("net", "sh", "-c", CERTIFICATE)
    certificate = world.run("net", "cat", "cert.pem").stdout
    for host in ("beta", "gamma"):
        world.run(host, "sh", "-c", f"cat >>{BUNDLE}", user="root", stdin=certificate)
    start_rendezvous(world)
    nodes["udp"] = Ours(world, "alpha").start()
    nodes["Go"] = start_go(Go(world, "beta"))
    nodes["compat"] = Ours(world, "gamma").start("--transport", "auto", "--compat-beacon", URL)
    expect_equal({name: each.ctl("info")["transport"] for name, each in nodes.items()}, {"udp": "udp", "Go": "compat", "compat": "compat"}, "the transports")
    expect_equal({each.id for each in nodes.values()}, {1, 2, 3}, "the node ids")


@suite.case("trust between Go and ours, and pings both ways, through the relay")
def trust(_world):
    for kind in ("udp", "compat"):
        ask_and_approve(nodes[kind], nodes["Go"])
        nodes["Go"].ctl("ping", str(nodes[kind].id), "--count", "1")
        nodes[kind].round_trips(nodes["Go"])
        nodes["Go"].round_trips(nodes[kind])
        expect_equal(nodes[kind].path_to(nodes["Go"]), "relay", f"the path of ours ({kind}) to Go")


@suite.case("4 MiB to the echo of the other and back, each way", needs=[trust])
def echo(world):
    for kind in ("udp", "compat"):
        gateway_start(world, "--ports", "7", nodes["Go"].address, host=nodes[kind].host)
        for client, address in ((nodes[kind], ECHO), (nodes["Go"], nodes[kind].address)):
            seen = client.stream("echo", address, "7", "4", timeout=120)
            expect_equal(seen["received"], seen["sent"], f"the digest that {client.kind} saw ({kind})")
            print(f"# figure: echo of 4 MiB from {client.kind} ({kind}): {seen['seconds']:.1f} s", flush=True)


@suite.case("the rendezvous starts anew, and Go and ours find each other again", needs=[trust])
def restart(world):
    kill(world, "net", world.run("net", "pgrep", "-x", "pilot-rendezvou").stdout.strip())
    start_rendezvous(world)
    for kind in ("udp", "compat"):
        world.wait_online(nodes[kind].host, 60)
        nodes[kind].answers(nodes["Go"], 60)
        nodes["Go"].answers(nodes[kind], 60)


@suite.case("a second login of the Go node takes the place of the first", needs=[trust])
def again(_world):
    nodes["Go"].kill()
    start_go(nodes["Go"])
    nodes["compat"].answers(nodes["Go"], 40)
    wait_until(lambda: nodes["Go"].try_ctl("ping", str(nodes["udp"].id), "--count", "1"), 40, "Go pings ours")
    expect(nodes["Go"].ctl("info")["transport"] == "compat", "compat mode after its restart")


node.main(suite)
