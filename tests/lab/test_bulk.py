#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Much at once: big files, many connections, loss, a reader that sleeps."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import hashlib  # noqa: E402
import subprocess  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402

from labkit import tap  # noqa: E402
from labkit.player import (BETA, address, curl, fetch_page, gateway_start, make_trust, mappings, mean_datagram, pilotctl, restart_daemon, serve,  # noqa: E402
                           set_mtu, timed, write_file)
from labkit.tap import expect, expect_equal  # noqa: E402

suite = tap.Suite("bulk")

SLEEPER = r"""
import socket, time
sockets = []
for _ in range(4):
    s = socket.create_connection(("10.4.0.1", 8080)); s.sendall(b"GET /big HTTP/1.0\r\n\r\n"); sockets.append(s)
print("asleep", flush=True)
time.sleep(600)
"""


def digest(world, host, command):
    # With pipefail, or a fetch that failed would have the digest of nothing.
    return world.run(host, "bash", "-o", "pipefail", "-c", command + " | sha256sum", timeout=300).stdout.split()[0]


@suite.first("the page first")
def first(world):
    make_trust(world)
    serve(world, "beta", 8080)
    write_file(world, "beta", "www/index.html", "page")
    world.run("beta", "sh", "-c", "head -c 200000000 /dev/urandom >www/big; head -c 60000000 www/big >www/sixty; head -c 100000 www/big >www/small")
    gateway_start(world, "--ports", "8080", address(BETA))
    expect_equal(curl(world, "alpha", "http://10.4.0.1:8080/").stdout, "page", "the page")


@suite.case("200 MB have the right SHA-256")
def big(world):
    wanted = digest(world, "beta", "cat www/big")
    got, took = timed(lambda: digest(world, "alpha", "curl -fsS --max-time 280 http://10.4.0.1:8080/big"))
    expect_equal(got, wanted, "the digest")
    print(f"# 200 MB in {took:.1f} s", flush=True)


@suite.case("200 MB up have the right SHA-256")
def upload(world):
    server = ("import http.server, hashlib\n"
              "class H(http.server.BaseHTTPRequestHandler):\n"
              "    def do_PUT(self):\n"
              "        h = hashlib.sha256(); n = int(self.headers['Content-Length'])\n"
              "        while n:\n"
              "            data = self.rfile.read(min(n, 65536)); h.update(data); n -= len(data)\n"
              "        self.send_response(200); self.end_headers(); self.wfile.write(h.hexdigest().encode())\n"
              "http.server.HTTPServer(('0.0.0.0', 8090), H).serve_forever()\n")
    world.background("beta", "put.log", "python3", "-c", server)
    gateway_start(world, "--ports", "8090", address(BETA))
    world.run("alpha", "sh", "-c", "head -c 200000000 /dev/urandom >up")
    got = world.run("alpha", "curl", "-sS", "-H", "Expect:", "-T", "up", "http://10.4.0.1:8090/", timeout=300).stdout
    expect_equal(got, digest(world, "alpha", "cat up"), "the digest")


@suite.case("200 parallel curls all succeed")
def parallel(world):
    wanted = hashlib.sha256(subprocess.run(world.command("beta", ["cat", "www/small"]), stdout=subprocess.PIPE, check=True).stdout).hexdigest()
    script = ("for i in $(seq 200); do (curl -fsS --max-time 60 http://10.4.0.1:8080/small | sha256sum) & done; wait")
    lines = world.run("alpha", "sh", "-c", script, timeout=120).stdout.splitlines()
    expect_equal(len(lines), 200, "answers")
    expect_equal({line.split()[0] for line in lines}, {wanted}, "the digests")


@suite.case("a client that never reads stalls nobody and holds a bounded buffer")
def sleeper(world):
    pid = pilotctl(world, "alpha", "daemon", "status")["pid"]

    def private_kb():
        text = world.run("alpha", "cat", f"/proc/{pid}/smaps_rollup", user="root").stdout
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty"))

    before = private_kb()
    with world.spawn("alpha", "python3", "-c", SLEEPER, stdout=subprocess.PIPE) as client:
        expect_equal(client.stdout.readline(), b"asleep\n", "the client")
        for _ in range(20):
            _, took = timed(lambda: curl(world, "alpha", "http://10.4.0.1:8080/small", "-o", "/dev/null", "-f"))
            expect(took < 3, f"another client waited {took:.1f} s")
        grown = private_kb() - before
        # Four sleepers; each may hold a receive ring, which the streams bound.
        expect(grown < 4 * 9000, f"four clients that never read hold {grown} kB")
        client.terminate()


@suite.case("60 MB at 30 ms with 2 % loss arrive within a minute")
def lossy(world):
    world.wire("beta", {"delay": 15, "loss": 2, "seed": 5})
    try:
        wanted = digest(world, "beta", "cat www/sixty")
        got, took = timed(lambda: digest(world, "alpha", "curl -fsS --max-time 180 http://10.4.0.1:8080/sixty"))
        expect_equal(got, wanted, "the digest")
        print(f"# 60 MB in {took:.1f} s", flush=True)
        expect(took < 60, f"it took {took:.1f} s")
    finally:
        world.wire("beta", {}, clear=True)
    expect_equal(mappings(world)["10.4.0.1"]["path"], "direct", "the path")


@suite.case("offload is switched off and on again while 60 MB are under way")
def offload(world):
    wanted = digest(world, "beta", "cat www/sixty")

    def switch(value):
        for host in ("alpha", "beta"):
            pilotctl(world, host, "plugins", "--set", f"transport-udp.offload={value}")
            stats = pilotctl(world, host, "info")["transports"]["transport-udp"]
            expect_equal((stats["segmentation-offload"], stats["receive-offload"]), (value == "auto",) * 2, f"offload of {host}")

    with ThreadPoolExecutor(1) as pool:
        got = pool.submit(digest, world, "alpha", "curl -fsS --max-time 120 http://10.4.0.1:8080/sixty")
        for value in ("off", "auto", "off"):
            switch(value)
        expect_equal(got.result(), wanted, "the digest")
    restart_daemon(world, "beta")
    expect_equal(pilotctl(world, "beta", "info")["transports"]["transport-udp"]["segmentation-offload"], False, "what beta started with")
    switch("auto")


@suite.case("segments are as large as the path carries: Ethernet, jumbo frames, and Ethernet again")
def path_mtu(world):
    world.run("beta", "sh", "-c", "test -e www/sixty || head -c 60000000 /dev/urandom >www/sixty")
    wanted = digest(world, "beta", "cat www/sixty")

    def fetch():
        return digest(world, "alpha", "curl -fsS --max-time 120 http://10.4.0.1:8080/sixty")

    expect_equal(fetch(), wanted, "the digest")
    got, size = mean_datagram(world, fetch)
    expect_equal(got, wanted, "the digest")
    expect(1350 < size <= 1472, f"on Ethernet datagrams have {size:.0f} bytes in the mean")
    try:
        set_mtu(world, 9000)
        # A new path is measured; that an old one has grown is looked for every ten minutes.
        restart_daemon(world, "beta")
        fetch_page(world)
        expect_equal(fetch(), wanted, "the digest")
        got, size = mean_datagram(world, fetch)
        expect_equal(got, wanted, "the digest")
        expect(7000 < size <= 8972, f"with jumbo frames datagrams have {size:.0f} bytes in the mean")
        # Only a router's far side shrinks: beta's own devices go on taking large ones.
        set_mtu(world, 1500, ["router-beta"])
        for _ in range(6):
            # Who has just measured a path does not believe every word against it, and a fetch may be over before the next one comes.
            got, size = mean_datagram(world, fetch)
            expect_equal(got, wanted, "the digest")
            if size <= 1472:
                break
        expect(1100 < size <= 1472, f"after the path shrank datagrams have {size:.0f} bytes in the mean")
    finally:
        set_mtu(world, 1500)


suite.main()
