#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Those who are not trusted: a third node, a registry that lies, another user of the machine."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import json  # noqa: E402

from labkit import tap  # noqa: E402
from labkit.player import (ALPHA, BETA, GAMMA, address, connect_refused, curl, fetch_page, gateway_start, kill, make_trust, mappings, pilotctl,  # noqa: E402
                           restart_daemon, serve, time_to_end, trusted_ids, write_file)
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

suite = tap.Suite("strangers", hosts=("alpha", "beta", "gamma"))
# The registry now names the key of node 3 for node 2, and the other way round.
SWAP_KEYS = r"""
import os, sqlite3
store = sqlite3.connect(os.path.expanduser("~/rendezvous.db"))
keys = dict(store.execute("SELECT id, key FROM node WHERE id IN (2, 3)"))
for step in ((2, b"\0" * 32), (3, keys[2]), (2, keys[3])):
    store.execute("UPDATE node SET key = ? WHERE id = ?", (step[1], step[0]))
store.commit()
"""
PAGE = "<p>for alpha alone\n"


def peers(world, host):
    return {one["node_id"]: one for one in pilotctl(world, host, "peers")["peers"]}


@suite.first("the page for the one that is trusted")
def trusted(world):
    make_trust(world)
    world.run("beta", "mkdir", "-p", "www")
    write_file(world, "beta", "www/index.html", PAGE)
    serve(world, "beta", 8080)
    gateway_start(world, "--ports", "8080", address(BETA))
    expect_equal(fetch_page(world), PAGE, "the page")


@suite.case("a stranger reaches nothing, public or private, and leaves nothing behind")
def stranger(world):
    gateway_start(world, "--ports", "8080", address(BETA), host="gamma")
    for visibility in ("set-private", "set-public"):
        pilotctl(world, "beta", visibility)
        took = time_to_end(world, "10.4.0.1", 8080, 30, host="gamma")
        expect(took < 18, f"the stranger's client was reset after {took:.1f} s")
        expect(mappings(world, "gamma")["10.4.0.1"]["last_error"], "the mapping does not say why")
        mine = [one for one in pilotctl(world, "beta", "connections")["connections"] if one["remote_addr"] == address(GAMMA)]
        expect_equal(mine, [], "connections of the stranger at beta")
        expect(GAMMA not in peers(world, "beta") or not peers(world, "beta")[GAMMA]["trusted"], "the stranger is a trusted peer")
    pilotctl(world, "beta", "set-private")


@suite.case("a stranger that takes itself for trusted: its SYN meets silence, at a private and at a public node")
def silence(world):
    key = json.loads(world.run("beta", "cat", ".pilot/identity.json").stdout)["public_key"]
    document = json.loads(world.run("gamma", "sh", "-c", "cat .pilot/trust.json 2>/dev/null || echo {}").stdout)
    forged = dict(document)
    forged["trusted"] = [{"node_id": BETA, "public_key": key, "mutual": True, "network": 0, "approved_at": "2026-01-01T00:00:00Z"}]
    pilotctl(world, "gamma", "daemon", "stop")
    write_file(world, "gamma", ".pilot/trust.json", json.dumps(forged))
    world.start_daemon("gamma")
    for visibility, least in (("set-private", 0), ("set-public", 5)):
        pilotctl(world, "beta", visibility)
        expect_equal(trusted_ids(world, "gamma"), {BETA}, "whom gamma believes to be trusted by")
        took = time_to_end(world, "10.4.0.1", 8080, 40, host="gamma")
        # A public node can be found, so the SYN goes out; then nothing but gamma's own patience ends the wait.
        expect(least < took < 18.4, f"{visibility}: the client was reset after {took:.1f} s")
        mine = [one for one in pilotctl(world, "beta", "connections")["connections"] if one["remote_addr"] == address(GAMMA)]
        expect_equal(mine, [], "connections of the stranger at beta")
        expect(GAMMA not in peers(world, "beta") or not peers(world, "beta")[GAMMA]["trusted"], "the stranger is a trusted peer")
    expect_equal(trusted_ids(world, "beta"), {ALPHA}, "whom beta trusts")
    pilotctl(world, "beta", "set-private")
    pilotctl(world, "gamma", "daemon", "stop")
    write_file(world, "gamma", ".pilot/trust.json", json.dumps(document))
    world.start_daemon("gamma")


@suite.case("who asked for trust has opened nothing of its own")
def asymmetric(world):
    serve(world, "alpha", 8085)
    gateway_start(world, "--ports", "8085", "1", host="beta")
    # Trusted, but without access: a reset, at once.
    connect_refused(world, "10.4.0.1", 8085, 0.5, host="beta")
    expect_equal({one["node_id"]: one["access"] for one in pilotctl(world, "alpha", "trust")["trusted"]}, {BETA: "none"}, "what beta may reach at alpha")
    pilotctl(world, "alpha", "expose", str(BETA), "--ports", "8085")
    curl(world, "beta", "http://10.4.0.1:8085/", "-f")
    pilotctl(world, "alpha", "unexpose", str(BETA))
    connect_refused(world, "10.4.0.1", 8085, 0.5, host="beta")


@suite.case("another user of the machine sees status and changes nothing")
def other_user(world):
    bus = world.run("alpha", "sh", "-c", "echo $XDG_RUNTIME_DIR/pilot/bus").stdout.strip()
    # A folder of a user's own is closed to others; the socket itself is not, and methods decide.
    world.run("alpha", "chmod", "711", os.path.dirname(os.path.dirname(bus)), os.path.dirname(bus), user="root")
    before = mappings(world)["10.4.0.1"]["pilot_addr"]
    as_other = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "pilotctl", "--bus", bus, "--json")
    seen = world.run("alpha", *as_other, "gateway", "list", user="root").stdout
    expect_equal(json.loads(seen)["data"]["mappings"][0]["pilot_addr"], before, "what the other user sees")
    for argv in (("gateway", "unmap", "10.4.0.1"), ("gateway", "stop"), ("untrust", str(BETA)), ("approve", str(GAMMA)), ("trust",), ("set-public",)):
        done = world.run("alpha", *as_other, *argv, user="root", check=False)
        expect_equal((done.returncode, json.loads(done.stderr.splitlines()[-1])["code"]), (1, "permission_denied"), f"{' '.join(argv)} of another user")
    expect_equal(mappings(world)["10.4.0.1"]["pilot_addr"], before, "the mapping afterwards")


@suite.case("after a reboot the mappings need privilege, until the next start")
def reboot(world):
    pilotctl(world, "alpha", "daemon", "stop")
    # The one helper that "gateway start" left behind, by its id; more or none would be a fault of its own.
    kill(world, "alpha", world.run("alpha", "pgrep", "-x", "pilot-helper", user="root").stdout.strip(), "KILL")
    world.run("alpha", "sh", "-c", "rm -rf /run/pilot-helper; ip addr flush dev lo label 'lo:pilot*'; "
              "nft list tables | while read -r word family name; do nft delete table $family $name; done", user="root")
    world.start_daemon("alpha")
    expect_equal(mappings(world)["10.4.0.1"]["state"], "needs-privilege", "the state of the mapping")
    expect("sudo" in mappings(world)["10.4.0.1"]["last_error"], "the mapping does not say what to do")
    gateway_start(world)
    expect_equal(mappings(world)["10.4.0.1"]["state"], "up", "the state after the next start")
    expect_equal(fetch_page(world), PAGE, "the page")


@suite.case("a registry that lies about a key: nothing is carried, and it is said")
def liar(world):
    pilotctl(world, "beta", "daemon", "stop")
    pilotctl(world, "gamma", "daemon", "stop")
    kill(world, "net", world.run("net", "pgrep", "-x", "pilot-rendezvou").stdout.strip())
    world.run("net", "python3", "-c", SWAP_KEYS)
    world.start_rendezvous()
    world.start_daemon("gamma")
    # Gamma speaks with beta's id now, and would be believed by whoever asks the registry alone.
    wait_until(lambda: pilotctl(world, "gamma", "info")["node_id"] == BETA, 20, "gamma has beta's node id")
    restart_daemon(world, "alpha")
    world.wait_online("alpha")
    serve(world, "gamma", 8080)
    time_to_end(world, "10.4.0.1", 8080, 40)
    one = mappings(world)["10.4.0.1"]
    expect("key" in one["last_error"], f"the mapping says {one['last_error']!r}")
    expect_equal(peers(world, "alpha")[BETA]["state"], "key-mismatch", "the state of the peer")
    expect("key" in world.run("alpha", "sh", "-c", "cat .pilot/pilot.log").stdout.lower(), "the log does not say so")


suite.main()
