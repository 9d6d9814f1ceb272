#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The NAT matrix: every kind of NAT on one side, every kind on the other, and the path that comes of it.

`test_nat.py --table` plays the matrix and writes what it saw into docs/nat.md."""

import json
import os
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import address, curl, gateway_start, pending_ids, pilotctl, serve, trusted_ids, write_file  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import BEACON, SOURCE, wait_until  # noqa: E402

# Kind of the router → how its hosts are called in the lab, and in the table.
KINDS = {
    "none": ("open", "none"),
    "full-cone": ("cone", "full cone"),
    "restricted": ("addr", "address-restricted"),
    "port-restricted": ("port", "port-restricted"),
    "symmetric": ("sym", "symmetric"),
    # Nothing leaves such a network by UDP: these nodes find that out and use the beacon over WebSocket.
    "udp-blocked": ("wall", "UDP blocked"),
}

# The mapping of a symmetric NAT toward a peer is not the one that the beacon sees, and it goes by port: who lets in only the port he wrote to
# (or has no port at all to be told) cannot be met by it.
RELAYED = {frozenset(("symmetric",)), frozenset(("symmetric", "port-restricted"))}
DIRECT_SECONDS = 20
SECOND_BEACON = "192.0.2.1:9101"
SESSION_BUS = "unix:path=/run/user/1000/bus"
DOCUMENT = os.path.join(SOURCE, "docs", "nat.md")

ROWS = {kind: f"a-{short}" for kind, (short, _) in KINDS.items()}
COLUMNS = {kind: f"b-{short}" for kind, (short, _) in KINDS.items()}
PAIRS = [(row, column) for row in KINDS for column in KINDS]

suite = tap.Suite("nat", hosts=(*ROWS.values(), *COLUMNS.values()), daemons=False,
                  nats={host: kind for side in (ROWS, COLUMNS) for kind, host in side.items()})
ids = {}
# (row, column) → how long the first page took, whether it is direct, and after how long
results = {}


def start_rendezvous(world):
    """With everything on the TLS port too; answers what a daemon needs to use that."""
    world.run("net", "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start", user="root")
    world.start_rendezvous("--registry-addr", "192.0.2.1:9443", "--registry-plain-addr", "192.0.2.1:9000", "--compat-addr", "192.0.2.1:443",
                           "--tls-cert", "cert.pem", "--tls-key", "key.pem", "--tls-generate")
    ready = wait_until(lambda: re.search(r"\(tls ([0-9a-f]{64})\)", world.run("net", "cat", "rendezvous.log").stdout), 10, "the ready line")
    return ("--transport", "auto", "--compat-beacon", "wss://net/v1/compat", "--registry-fingerprint", ready.group(1))


def can_be_direct(row, column):
    return "udp-blocked" not in (row, column) and frozenset((row, column)) not in RELAYED


def local_ip(column):
    """The gateway of each row maps the columns in this order."""
    return f"10.4.0.{1 + list(KINDS).index(column)}"


def paths(world, host):
    """node id → path, as `pilotctl peers` shows it."""
    return {peer["node_id"]: peer["path"] for peer in pilotctl(world, host, "peers")["peers"]}


def bus_path(world, host, ip):
    """The property Path of a mapping, asked on the session bus."""
    done = world.run(host, "gdbus", "call", "--address", SESSION_BUS, "--dest", "network.pilotprotocol.Pilot1", "--object-path",
                     f"/network/pilotprotocol/Pilot1/mappings/{ip.replace('.', '_')}", "--method", "org.freedesktop.DBus.Properties.Get",
                     "network.pilotprotocol.Pilot1.Mapping", "Path")
    return re.fullmatch(r"\(<'(.*)'>,\)\n", done.stdout).group(1)


def expect_bus_paths(world, pairs, wanted):
    seen = world.in_parallel(lambda pair: bus_path(world, ROWS[pair[0]], local_ip(pair[1])), pairs)
    expect_equal(seen, [wanted] * len(pairs), f"on D-Bus: {pairs}")


@suite.first("twelve nodes behind six kinds of NAT register and trust each other, each row each column")
def trust(world):
    compat = start_rendezvous(world)

    def start(host):
        if host in ROWS.values():
            world.run(host, "dbus-daemon", "--session", "--fork", "--address=" + SESSION_BUS)
        world.start_daemon(host, *compat if world.state["nats"][host] == "udp-blocked" else (), environment=(f"DBUS_SESSION_BUS_ADDRESS={SESSION_BUS}",) if host in ROWS.values() else ())
        return host, pilotctl(world, host, "info")["node_id"]

    ids.update(world.in_parallel(start, [*ROWS.values(), *COLUMNS.values()]))
    askers = {ids[host] for host in ROWS.values()}

    def ask(host):
        for column in COLUMNS.values():
            pilotctl(world, host, "handshake", address(ids[column]), "let me in")

    def grant(host):
        wait_until(lambda: pending_ids(world, host) >= askers, 30, f"the requests arrive at {host}", every=0.3)
        for asker in askers:
            pilotctl(world, host, "approve", str(asker))

    def granted(host):
        wait_until(lambda: trusted_ids(world, host) >= {ids[column] for column in COLUMNS.values()}, 30, f"the approvals arrive at {host}", every=0.3)

    world.in_parallel(ask, list(ROWS.values()))
    world.in_parallel(grant, list(COLUMNS.values()))
    world.in_parallel(granted, list(ROWS.values()))


@suite.case("every pair reaches the other with curl")
def reach(world):
    def publish(host):
        world.run(host, "mkdir", "-p", "www")
        write_file(world, host, "www/index.html", f"<p>{host}\n")
        serve(world, host, 8080)

    def open_gateway(host):
        gateway_start(world, "--ports", "8080", *(address(ids[column]) for column in COLUMNS.values()), host=host)

    def fetch(pair):
        row, column = pair
        started = time.monotonic()
        got = curl(world, ROWS[row], f"http://{local_ip(column)}:8080/", "-f", timeout=40).stdout
        results[pair] = {"page": time.monotonic() - started, "started": started}
        expect_equal(got, f"<p>{COLUMNS[column]}\n", f"the page of {COLUMNS[column]} at {ROWS[row]}")

    world.in_parallel(publish, list(COLUMNS.values()))
    world.in_parallel(open_gateway, list(ROWS.values()))
    world.in_parallel(fetch, PAIRS)


@suite.case("who can go direct does within 20 s, on both sides, at pilotctl and on D-Bus", needs=[reach])
def direct(world):
    expect_equal(len(results), len(PAIRS), "pairs that were reached")
    waiting = {pair for pair in PAIRS if can_be_direct(*pair)}
    until = time.monotonic() + DIRECT_SECONDS
    while waiting and time.monotonic() < until:
        seen = dict(zip((*ROWS.values(), *COLUMNS.values()), world.in_parallel(lambda host: paths(world, host), [*ROWS.values(), *COLUMNS.values()])))
        for row, column in list(waiting):
            if seen[ROWS[row]].get(ids[COLUMNS[column]]) == seen[COLUMNS[column]].get(ids[ROWS[row]]) == "direct":
                results[row, column]["direct"] = time.monotonic() - results[row, column]["started"]
                waiting.remove((row, column))
        time.sleep(0.3)
    expect(not waiting, f"not direct within {DIRECT_SECONDS} s: {sorted(waiting)}")
    expect_bus_paths(world, [pair for pair in PAIRS if can_be_direct(*pair)], "direct")


@suite.case("who cannot is relayed, and says so", needs=[direct])
def relayed(world):
    pairs = [pair for pair in PAIRS if not can_be_direct(*pair)]
    for row, column in pairs:
        expect_equal(paths(world, ROWS[row])[ids[COLUMNS[column]]], "relay", f"{row} to {column}")
        expect_equal(curl(world, ROWS[row], f"http://{local_ip(column)}:8080/", "-f").stdout, f"<p>{COLUMNS[column]}\n", f"{row} to {column}")
    expect_bus_paths(world, pairs, "relay")


# Kind → what netcheck says of the mapping when two beacons answer.
MAPPINGS = {"none": "none", "full-cone": "endpoint-independent", "restricted": "endpoint-independent", "port-restricted": "endpoint-independent",
            "symmetric": "address-and-port-dependent"}


@suite.case("netcheck: the mapping of each NAT, addresses, round trips, and when it is wrong", needs=[reach])
def netcheck(world):
    def check(host):
        return pilotctl(world, host, "netcheck")

    def ask_two(host):
        pilotctl(world, host, "daemon", "stop")
        world.start_daemon(host, "--beacon", f"{BEACON},{SECOND_BEACON}")
        return check(host)

    columns = {kind: host for kind, host in COLUMNS.items() if kind != "udp-blocked"}
    hosts = list(columns.values())
    for kind, facts in zip(columns, world.in_parallel(check, hosts)):
        expect_equal((facts["udp"], facts["nat"], facts["beacons_asked"]), ("open", kind != "none", 1), kind)
        wanted = {"none": ("none",), "symmetric": ("unknown",)}.get(kind, ("port-preserving", "unknown"))
        expect(facts["mapping"] in wanted, f"{kind} with one beacon: {facts['mapping']}")
        expect(facts["outside"].startswith(world.outside_address(COLUMNS[kind]) if kind != "none" else world.lan_address(COLUMNS[kind], 2)), str(facts))
        expect(0 <= facts["beacon_rtt_ms"] < 1000 and 0 <= facts["registry_rtt_ms"] < 8000 and facts["mtu"] == 1500, str(facts))
    world.background("net", "beacon.log", "pilot-rendezvous", "--registry-addr", "192.0.2.1:9100", "--beacon-addr", SECOND_BEACON, "--store", "/home/user/second.db")
    for kind, facts in zip(columns, world.in_parallel(ask_two, hosts)):
        expect_equal((facts["beacons_asked"], facts["mapping"]), (2, MAPPINGS[kind]), kind)
        expect_equal(facts["relay"], "some" if kind == "symmetric" else "no", f"{kind}: relay needed")
    facts = check(COLUMNS["udp-blocked"])
    expect_equal((facts["transport"], facts["udp"], facts["relay"], facts["problems"]), ("compat", "not-used", "always", []), "UDP blocked")
    # Nothing gets out any more: exit status 1, and it says so.
    host = COLUMNS["port-restricted"]
    world.namespace(f"router-{host}").nft("table ip wall {\n chain wall {\n type filter hook forward priority 20;\n meta l4proto udp drop\n }\n}\n")
    done = world.run(host, "pilotctl", "netcheck", check=False)
    expect(done.returncode == 1 and "! no UDP comes back" in done.stdout, f"exit {done.returncode}: {done.stdout}")
    data = json.loads(world.run(host, "pilotctl", "--json", "netcheck", check=False).stdout)["data"]
    expect_equal((data["udp"], data["relay"], len(data["problems"])), ("no-answer", "always", 1), str(data))


def cell(result):
    if result is None:
        return "–"
    if "direct" in result:
        return f"direct, {max(result['direct'], result['page']):.1f} s"
    return f"relay, {result['page']:.1f} s"


def table():
    """The matrix as Markdown."""
    names = {kind: name for kind, (_, name) in KINDS.items()}
    lines = ["| from \\ to | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 1) + "|"]
    for row, name in names.items():
        lines.append(f"| **{name}** | " + " | ".join(cell(results.get((row, column))) for column in names) + " |")
    return "\n".join(lines) + "\n"


@suite.case("the table", needs=[direct])
def print_table(_world):
    for line in table().splitlines():
        print(f"# {line}", flush=True)
    if not writes_table:
        return
    expect_equal(len(results), len(PAIRS), "pairs that were reached")
    with open(DOCUMENT, encoding="utf-8") as file:
        before, begin, rest = file.read().partition("<!-- matrix -->\n")
        _, end, after = rest.partition("<!-- /matrix -->\n")
    expect(begin and end, f"{DOCUMENT} has no place for the table")
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(before + begin + table() + end + after)


writes_table = "--table" in sys.argv
if writes_table:
    sys.argv.remove("--table")
suite.main()
