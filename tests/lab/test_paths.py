#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Paths that change under a stream: new outside ports, dead paths, another uplink; peers in one LAN and behind one router."""

import json
import os
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import address, fetch_page, gateway_start, kill, make_trust, pilotctl, serve, wait_listening, write_file  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

# Asker → the one it trusts; what is behind which router.
PAIRS = {"alpha": "beta", "gamma": "delta", "mover": "omega", "lan1": "lan2", "pin1": "pin2", "sym1": "sym2"}
NATS = {"mover": "port-restricted", "omega": "port-restricted", "pin1": "hairpin", "sym1": "symmetric", "sym2": "symmetric"}
LANS = {"lan2": "lan1", "pin2": "pin1"}
HOSTS = [host for pair in PAIRS.items() for host in pair]

suite = tap.Suite("paths", hosts=tuple(HOSTS), nats=NATS, lans=LANS, daemons=False)
ids = {}

# Numbered lines, one each 50 ms.
TRICKLE_SERVER = r"""
import socket, threading, time
server = socket.create_server(("0.0.0.0", 9200))
def serve(s):
    n = 0
    while True:
        s.sendall(f"{n:09d}\n".encode()); n += 1; time.sleep(0.05)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
# Reads them for so many seconds; every one must come, in order. Says how long the longest silence was.
TRICKLE_CLIENT = r"""
import json, socket, sys, time
s = socket.create_connection(("10.4.0.1", 9200)); s.settimeout(30); f = s.makefile("rb")
first = last = time.monotonic(); until = first + float(sys.argv[1]); n = 0; gap = 0; at = 0
print("on", flush=True)
while last < until:
    line = f.readline()
    if not line or int(line) != n: sys.exit(f"line {n} is {line!r}")
    now = time.monotonic()
    if now - last > gap: gap, at = now - last, last - first
    last = now; n += 1
print(json.dumps({"lines": n, "gap": gap, "at": at}))
"""


def peer(world, host, other):
    return next((one for one in pilotctl(world, host, "peers")["peers"] if one["node_id"] == ids[other]), None)


def path(world, host, other):
    found = peer(world, host, other)
    return found["path"] if found else ""


def endpoint(world, host, other):
    """Where the host sends to: pilotctl keeps it to itself, the log of the daemon says it."""
    log = world.run(host, "cat", ".pilot/pilot.log").stdout
    return re.findall(rf"node {ids[other]}: session [a-z]*, path [a-z]*, at (\S+)", log)[-1]


def wait_path(world, host, other, wanted, seconds=20):
    """Both sides; answers how long it took."""
    started = time.monotonic()
    wait_until(lambda: path(world, host, other) == path(world, other, host) == wanted, seconds, f"{host} and {other} are {wanted}")
    return time.monotonic() - started


class Trickle:
    """A stream of numbered lines from the peer to a host, while something happens to the path."""

    def __init__(self, world, host, seconds):
        self.host = host
        self.seconds = seconds
        self.client = world.spawn(host, "python3", "-c", TRICKLE_CLIENT, str(seconds), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        expect_equal(self.client.stdout.readline(), b"on\n", f"the stream at {self.host}")
        return self

    def __exit__(self, *failure):
        if failure[0] is not None:
            self.client.terminate()
        out, error = self.client.communicate(timeout=self.seconds + 60)
        if failure[0] is None:
            expect(self.client.returncode == 0, f"the stream at {self.host}: {error.decode()!r}")
            self.result = json.loads(out)

    def silence(self, seconds, what):
        said = f"{what}: no line is lost, the longest silence is {self.result['gap']:.2f} s of {seconds} allowed"
        print(f"# {said}", flush=True)
        expect(self.result["gap"] < seconds, said)


@suite.first("twelve nodes: trust, gateways, servers, and first paths")
def start(world):
    world.start_rendezvous()

    def up(host):
        world.start_daemon(host, "--log-level", "debug")
        return host, pilotctl(world, host, "info")["node_id"]

    ids.update(world.in_parallel(up, HOSTS))

    def meet(pair):
        asker, granter = pair
        make_trust(world, (asker, ids[asker]), (granter, ids[granter]))
        gateway_start(world, address(ids[granter]), host=asker)
        world.background(granter, "trickle.log", "python3", "-c", TRICKLE_SERVER)
        wait_listening(world, granter, 9200)
        world.run(granter, "mkdir", "-p", "www")
        write_file(world, granter, "www/index.html", granter)
        serve(world, granter, 8080)
        expect_equal(fetch_page(world, host=asker), granter, f"the page of {granter}")

    world.in_parallel(meet, list(PAIRS.items()))
    world.in_parallel(lambda asker: wait_path(world, asker, PAIRS[asker], "relay" if asker == "sym1" else "direct"), list(PAIRS))


@suite.case("two hosts of one LAN use its addresses")
def lan(world):
    for host, other in (("lan1", "lan2"), ("lan2", "lan1")):
        expect(endpoint(world, host, other).startswith("192.168."), f"{host}: {endpoint(world, host, other)}")


@suite.case("hairpin: in a LAN whose hosts cannot see each other the router turns it round")
def hairpin(world):
    world.isolate("pin1")
    expect(world.run("pin1", "ping", "-c", "1", "-W", "1", world.lan_address("pin1", 3), check=False).returncode != 0, "the hosts see each other")
    world.in_parallel(lambda host: pilotctl(world, host, "daemon", "stop"), ["pin1", "pin2"])
    world.in_parallel(lambda host: world.start_daemon(host, "--log-level", "debug"), ["pin1", "pin2"])
    expect_equal(fetch_page(world, host="pin1", seconds=30), "pin2", "the page")
    wait_path(world, "pin1", "pin2", "direct")
    for host, other in (("pin1", "pin2"), ("pin2", "pin1")):
        expect(endpoint(world, host, other).startswith(world.outside_address("pin1") + ":"), f"{host}: {endpoint(world, host, other)}")


@suite.case("a new outside port in the middle of a transfer: no byte is lost")
def rebind(world):
    world.run("beta", "sh", "-c", "head -c 15000000 /dev/urandom >www/big")
    wanted = world.run("beta", "sha256sum", "www/big").stdout.split()[0]
    for victim in ("beta", "alpha"):
        wait_path(world, "alpha", "beta", "direct")
        world.wire("beta", {"rate": 20, "queue": 200})
        before = endpoint(world, "alpha", "beta"), endpoint(world, "beta", "alpha")
        with world.spawn("alpha", "sh", "-c", 'curl -sS --max-time 60 http://10.4.0.1:8080/big | sha256sum', stdout=subprocess.PIPE) as transfer, \
             Trickle(world, "alpha", 12) as stream:
            time.sleep(1.5)
            world.rebind(victim)
            out, _ = transfer.communicate(timeout=90)
        world.wire("beta", {}, clear=True)
        expect_equal(out.decode().split()[0], wanted, "the digest")
        stream.silence(10, f"new outside port of {victim}")
        print(f"# direct again {wait_path(world, 'alpha', 'beta', 'direct'):.1f} s after the stream ended", flush=True)
        after = endpoint(world, "alpha", "beta"), endpoint(world, "beta", "alpha")
        expect(before != after, f"the port is still the same: {before}")


@suite.case("a direct path that dies is replaced within 10 s, and taken again when it lives")
def dead(world):
    router = world.namespace("router-delta")
    with Trickle(world, "gamma", 8) as stream:
        time.sleep(1)
        router.nft("table ip cut {\n chain cut {\n type filter hook forward priority 20;\n"
                   f"ip saddr {world.outside_address('gamma')} drop\nip daddr {world.outside_address('gamma')} drop\n }}\n}}\n")
    stream.silence(10, "a path that died")
    expect_equal(path(world, "gamma", "delta"), "relay", "the path")
    router.nft("delete table ip cut\n")
    print(f"# direct again after {wait_path(world, 'gamma', 'delta', 'direct'):.1f} s", flush=True)


@suite.case("another uplink, other address, other router: goes on within 2 s")
def uplink(world):
    with Trickle(world, "mover", 8) as stream:
        time.sleep(1)
        world.move("mover", "gamma")
    stream.silence(2, "another uplink")
    print(f"# direct again {wait_path(world, 'mover', 'omega', 'direct'):.1f} s after the stream ended", flush=True)


@suite.case("the beacon restarts: direct streams do not notice, relayed ones go on")
def beacon(world):
    pid = world.run("net", "pgrep", "-x", "pilot-rendezvou").stdout.strip()
    with Trickle(world, "gamma", 10) as direct, Trickle(world, "sym1", 10) as relayed:
        time.sleep(1)
        kill(world, "net", pid)
        world.start_rendezvous()
    direct.silence(1, "direct while the beacon restarts")
    relayed.silence(10, "relayed while the beacon restarts")


suite.main()
