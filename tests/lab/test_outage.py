#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad days: closed ports, dead peers, a rendezvous that goes away."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import subprocess  # noqa: E402
import time  # noqa: E402

from labkit import tap  # noqa: E402
from labkit.player import (BETA, address, connect_refused, curl, fetch_page, gateway_start, kill, make_trust, mappings,  # noqa: E402
                           pilotctl, restart_daemon, serve, write_file)
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

suite = tap.Suite("outage")

# How long one connection takes to be reset, measured by itself so that no process start counts.
RESET_TIME = r"""
import socket, time
t = time.monotonic(); s = socket.socket(); s.settimeout(30)
try:
    s.connect(("10.4.0.1", 4444)); data = s.recv(1)
    print("eof" if not data else "data", time.monotonic() - t)
except ConnectionError:
    print("reset", time.monotonic() - t)
"""
# A trickle: 100 bytes each 100 ms for as long as it takes.
TRICKLE_SERVER = r"""
import socket, threading, time
server = socket.create_server(("0.0.0.0", 9200))
def serve(s):
    n = 0
    while True:
        s.sendall(f"{n:09d}\n".encode()); n += 1; time.sleep(0.1)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
TRICKLE_CLIENT = r"""
import socket, sys, time
s = socket.create_connection(("10.4.0.1", 9200)); s.settimeout(10); f = s.makefile("rb")
until = time.monotonic() + float(sys.argv[1]); n = 0
print("on", flush=True)
while time.monotonic() < until:
    line = f.readline()
    if int(line) != n: sys.exit(f"line {n} is {line!r}")
    n += 1
print(n)
"""


def reset_time(world):
    word, seconds = world.run("alpha", "python3", "-c", RESET_TIME).stdout.split()
    expect_equal(word, "reset", "how the connection ends")
    return float(seconds)


@suite.first("a closed port: cold within 3 s, then within a round trip and 50 ms")
def closed(world):
    make_trust(world)
    gateway_start(world, address(BETA))
    for host in ("beta", "alpha"):
        restart_daemon(world, host)
    cold = reset_time(world)
    expect(cold < 3, f"cold: {cold:.3f} s")
    world.wire("beta", {"delay": 20})
    try:
        warm = sorted(reset_time(world) for _ in range(5))
        expect(warm[2] < 0.040 + 0.050, f"with the tunnel up: {warm}")
    finally:
        world.wire("beta", {}, clear=True)
    expect(mappings(world)["10.4.0.1"]["last_error"], "gateway list says why")
    serve(world, "beta", 8080)
    write_file(world, "beta", "www/index.html", "page")


@suite.case("registry and beacon away for a minute: a direct stream goes on, new ones work, all recovers")
def away(world):
    world.background("beta", "trickle.log", "python3", "-c", TRICKLE_SERVER)
    fetch_page(world)
    wait_until(lambda: mappings(world)["10.4.0.1"]["path"] == "direct", 20, "the path is direct")
    rendezvous = int(world.run("net", "pgrep", "-f", "pilot-rendezvous --registry").stdout.split()[0])
    with world.spawn("alpha", "python3", "-c", TRICKLE_CLIENT, "65", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        expect_equal(client.stdout.readline(), b"on\n", "the client")
        kill(world, "net", rendezvous)
        time.sleep(60)
        expect_equal(curl(world, "alpha", "http://10.4.0.1:8080/").stdout, "page", "a new connection without a rendezvous")
        world.start_rendezvous()
        out, error = client.communicate(timeout=30)
        expect(client.returncode == 0 and int(out) > 500, f"the stream: {out!r}, {error!r}")
    for host in ("alpha", "beta"):
        world.wait_online(host, seconds=70)
    expect_equal(pilotctl(world, "alpha", "find", "agent-beta")["node_id"], BETA, "find of a trusted private node")


@suite.case("rubbish from a stranger gets nothing but key exchanges, and the daemon lives")
def stranger(world):
    # An unknown session is answered with a key exchange (packets-and-tunnel.md), so that a restarted peer recovers; nothing else is.
    script = ("import os, socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)\n"
              "port = int(os.sys.argv[1]); n = 0\n"
              "for magic in (b'PILT', b'PILS', b'PILK', b'PILA', b'PILP', b''):\n"
              "    for size in (0, 1, 33, 34, 100, 1400):\n"
              "        s.sendto(magic + os.urandom(size), ('127.0.0.1', port))\n"
              "while True:\n"
              "    try: n += s.recv(2000)[:4] not in (b'PILA', b'PILK')\n"
              "    except TimeoutError: break\n"
              "print(n)\n")
    pid = pilotctl(world, "beta", "daemon", "status")["pid"]
    lines = [line for line in world.run("beta", "ss", "-Hlunp", user="root").stdout.splitlines() if f"pid={pid}," in line]
    expect(lines, "the daemon of beta has no UDP socket")
    port = lines[0].split()[3].rpartition(":")[2]
    expect_equal(world.run("beta", "python3", "-c", script, port).stdout.strip(), "0", "other answers to a stranger")
    expect_equal(fetch_page(world), "page", "the page")


@suite.case("a dead peer: the client is reset within 18 s, then refused at once, and a revived peer works")
def dead(world):
    kill(world, "beta", pilotctl(world, "beta", "daemon", "status")["pid"], "KILL")
    connect_refused(world, "10.4.0.1", 8080, 18)
    connect_refused(world, "10.4.0.1", 8080, 18)
    expect(mappings(world)["10.4.0.1"]["last_error"], "gateway list says why")
    world.start_daemon("beta")
    expect_equal(fetch_page(world, seconds=30), "page", "the page when beta is back")


@suite.case("a silent peer whose registration stands: within 18 s")
def silent(world):
    world.wire("beta", {"loss": 100})
    try:
        connect_refused(world, "10.4.0.1", 8080, 18)
    finally:
        world.wire("beta", {"loss": 0})
        world.wire("beta", {}, clear=True)
    expect_equal(fetch_page(world, seconds=40), "page", "the page when the line is back")


suite.main()
