#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab itself: hosts, users, NAT kinds and the wire are what they say."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap, world as lab  # noqa: E402
from labkit.namespace import LabError, start_time  # noqa: E402
from labkit.player import curl, serve  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402

suite = tap.Suite("lab", daemons=False)

# In net: two addresses, two ports. Answers each datagram with the sender it sees; "via IP PORT" answers from that socket instead.
NAT_SERVER = r"""
import select, socket
socks = {}
for ip in ("192.0.2.1", "192.0.2.2"):
    for port in (7001, 7002):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((ip, port)); socks[ip, port] = s
print("ready", flush=True)
while True:
    for s in select.select(list(socks.values()), [], [])[0]:
        data, sender = s.recvfrom(2048)
        words = data.decode().split()
        out = socks[words[1], int(words[2])] if words and words[0] == "via" else s
        out.sendto(f"{sender[0]} {sender[1]}".encode(), sender)
"""

# In a host: how the outside port depends on the destination, and who may answer.
NAT_CLIENT = r"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 5555)); s.settimeout(0.7)
def ask(ip, port, text="where"):
    s.sendto(text.encode(), (ip, port))
    try:
        return s.recv(2048).decode()
    except socket.timeout:
        return None
first = ask("192.0.2.1", 7001)
other_port = ask("192.0.2.1", 7001, "via 192.0.2.1 7002")
other_host = ask("192.0.2.1", 7001, "via 192.0.2.2 7001")
again = ask("192.0.2.2", 7001)
print(f"{first is not None} {first == again} {other_port is not None} {other_host is not None}")
"""


def nat_behaviour(world, host):
    return world.run(host, "python3", "-c", NAT_CLIENT).stdout.split()


def with_nat_server(kinds, check):
    """Two hosts of the given kinds in a world of their own."""
    place = lab.World(f"n-{os.getpid()}")
    place.up(nats=kinds, daemons=False, build=os.environ.get("PILOT_BUILD"))
    try:
        place.run("net", "ip", "addr", "add", "192.0.2.2/24", "dev", "eth0", user="root")
        with place.spawn("net", "python3", "-c", NAT_SERVER, stdout=subprocess.PIPE) as server:
            expect_equal(server.stdout.readline(), b"ready\n", "the server")
            check(place)
            server.terminate()
    finally:
        place.down()


# kind: works at all, the same mapping for every destination, a new port of the peer gets in, a new address gets in
EXPECTED = {
    "full-cone": ["True", "True", "True", "True"],
    "restricted": ["True", "True", "True", "False"],
    "port-restricted": ["True", "True", "False", "False"],
    "symmetric": ["True", "False", "False", "False"],
    "none": ["True", "True", "True", "True"],
    "udp-blocked": ["False", "True", "False", "False"],
}


@suite.case("NAT kinds behave as RFC 4787 names them")
def nat_kinds(_world):
    kinds = list(EXPECTED)
    for pair in zip(kinds[::2], kinds[1::2]):
        def check(place, pair=pair):
            for host, kind in zip(("alpha", "beta"), pair):
                expect_equal(nat_behaviour(place, host), EXPECTED[kind], f"{kind}: works, one mapping, new port, new address")
        with_nat_server(dict(zip(("alpha", "beta"), pair)), check)


@suite.case("hosts are apart from the machine and from each other")
def hosts(world):
    expect_equal(world.run("alpha", "id", "-u").stdout, "1000\n", "uid")
    expect_equal(world.run("alpha", "sudo", "id", "-u").stdout, "0\n", "uid with sudo")
    expect(world.run("alpha", "sudo", "-n", "id", user="other", check=False).returncode != 0, "the other user may not use sudo")
    world.run("alpha", "touch", "/tmp/here", "/home/user/here")
    expect(world.run("beta", "ls", "/tmp/here", check=False).returncode != 0, "beta sees the files of alpha")
    expect(not os.path.exists("/tmp/here"), "the machine sees the files of alpha")
    expect_equal(world.run("alpha", "hostname").stdout, "alpha\n", "the name of alpha")


@suite.case("what ends in a host leaves no zombie")
def reaped(world):
    pid = world.background("net", "ended.log", "true")
    lab.wait_until(lambda: not world.run("net", "ps", "-o", "stat=", "-p", str(pid), check=False).stdout, 5, "the orphan is reaped")


@suite.case("nobody reaches a host behind its NAT, everybody reaches net")
def reach(world):
    serve(world, "net", 8000)
    serve(world, "beta", 8000)
    expect_equal(curl(world, "alpha", "http://192.0.2.1:8000/", "-o", "/dev/null", "-w", "%{http_code}").stdout, "200", "alpha to net")
    for target in ("192.168.72.2", "192.0.2.12"):
        expect(curl(world, "alpha", f"http://{target}:8000/", "--connect-timeout", "2", check=False).returncode != 0, f"alpha reaches {target}")
    expect_equal(world.run("neighbour", "ip", "route", "get", "10.4.0.1").stdout.split()[2], "192.168.71.2", "the neighbour's way")


@suite.case("a case that is run by name brings what it needs")
def selection(_world):
    others = tap.Suite("others")

    @others.first("the ground")
    def ground(_world):
        pass

    @others.case("walls")
    def walls(_world):
        pass

    @others.case("a roof", needs=[walls])
    def roof(_world):
        pass

    @others.case("a tree")
    def tree(_world):
        pass

    for wanted, functions in (("", [ground, walls, roof, tree]), ("ground", [ground]), ("roof", [ground, walls, roof]), ("tree", [ground, tree]), ("cellar", [])):
        expect_equal([case.function for case in others.select(wanted)], functions, f"what runs for “{wanted}”")

    chain = tap.Suite("chain", chained=True)
    for function in (ground, walls, roof, tree):
        chain.case(function.__name__)(function)
    expect_equal([case.function for case in chain.select("roof")], [ground, walls, roof], "what runs in a chain")


@suite.case("the wire delays, loses and limits, while it runs")
def wire(world):
    serve(world, "net", 8001)
    world.run("net", "dd", "if=/dev/zero", "of=www/four", "bs=1M", "count=4")

    def connect_ms():
        return 1000 * float(curl(world, "alpha", "http://192.0.2.1:8001/", "-o", "/dev/null", "-w", "%{time_connect}").stdout)

    world.wire("alpha", {"delay": 40})
    expect(80 <= connect_ms() < 110, "40 ms each way are 80 there and back")
    world.wire("alpha", {"delay": 0, "rate": 16, "queue": 100})
    took = float(curl(world, "alpha", "http://192.0.2.1:8001/four", "-o", "/dev/null", "-w", "%{time_total}").stdout)
    expect(2.0 < took < 3.5, f"4 MiB at 16 Mbit/s took {took:.2f} s instead of 2.1 to 3.5")
    state = world.wire("alpha", {"rate": 0, "loss": 100})
    expect(curl(world, "alpha", "http://192.0.2.1:8001/", "--connect-timeout", "2", check=False).returncode != 0, "a wire that loses all carries none")
    expect(world.wire("alpha", {})["directions"][0]["lost"] > state["directions"][0]["lost"], "the wire counts its losses")
    world.wire("alpha", {}, clear=True)
    expect(connect_ms() < 50, "without the wire it is fast again")
    try:
        world.wire("alpha", {"loss": 101})
    except LabError:
        return
    raise AssertionError("a loss of 101 % was taken")


@suite.case("down leaves nothing, also when up was killed")
def down(world):
    place = lab.World(f"d-{os.getpid()}")
    place.up(daemons=False, build=os.environ.get("PILOT_BUILD"))
    processes = [(found["pid"], found["started"]) for found in place.state["namespaces"].values()]
    # As if up had been killed before it was done.
    place.state["complete"] = False
    place._save()
    place.down()
    expect(all(start_time(pid) != started for pid, started in processes), "a process of the world is left")
    expect(not os.path.exists(place.folder), "the folder of the world is left")
    expect(place.name not in lab.worlds(), "the world is still listed")


suite.main()
