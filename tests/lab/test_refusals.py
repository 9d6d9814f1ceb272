#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad input: refused with the right code, and nothing changed."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import json  # noqa: E402

from labkit import tap  # noqa: E402
from labkit.player import (ALPHA, BETA, address, connect_refused, curl, gateway_start, kill, make_trust, mappings, network_state, pilotctl,  # noqa: E402
                           refused, restart_daemon, serve, write_file)
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

suite = tap.Suite("refusals")
GATEWAY = ("extras", "gateway")


def standing(world):
    """What a refused command must leave as it is; the path to a peer and the counters move by themselves."""
    lasting = ("local_ip", "pilot_addr", "state", "all_ports", "ports")
    return network_state(world, "alpha"), {ip: {key: mapping[key] for key in lasting} for ip, mapping in mappings(world).items()}


def unchanged(world, code, *argv, sudo=False):
    before = standing(world)
    message = refused(world, "alpha", code, *argv, sudo=sudo)
    expect_equal(standing(world), before, f"what stands after {' '.join(argv)}")
    return message


def curl_as(world, user):
    return curl(world, "alpha", "http://10.4.0.1:8080/", "-f", check=False, user=user)


@suite.case("no gateway: not_running")
def not_running(world):
    refused(world, "alpha", "not_running", *GATEWAY, "map", address(BETA))
    refused(world, "alpha", "not_running", *GATEWAY, "stop", sudo=True)


@suite.case("not root and no helper: permission_denied with the remedy")
def not_root(world):
    before = network_state(world, "alpha")
    message = refused(world, "alpha", "permission_denied", *GATEWAY, "start", "--ports", "80", address(BETA))
    done = world.run("alpha", "pilotctl", *GATEWAY, "start", "--ports", "80", address(BETA), check=False)
    expect("sudo" in message + done.stderr, f"the remedy is missing: {message!r}, {done.stderr!r}")
    expect_equal(network_state(world, "alpha"), before, "addresses, routes and rules")


@suite.case("a subnet that overlaps what the host has is refused and named")
def overlap(world):
    before = network_state(world, "alpha")
    message = refused(world, "alpha", "conflict", *GATEWAY, "start", "--subnet", "192.168.0.0/16", address(BETA), sudo=True)
    expect("192.168.71" in message, f"what it meets is not named: {message!r}")
    expect_equal(network_state(world, "alpha"), before, "addresses, routes and rules")


@suite.case("malformed arguments: invalid_argument")
def malformed(world):
    make_trust(world)
    gateway_start(world, "--ports", "8080", address(BETA))
    for words in (("map", "0:0000.0000"), ("map", "0:0000.0000.000G"), ("map", address(3), "10.5.0.1"), ("map", address(3), "10.4.0.300"),
                  ("map", address(ALPHA)), ("map", address(3), "10.4.0.0"), ("unmap", "10.4.0")):
        unchanged(world, "invalid_argument", *GATEWAY, *words)
    for ports in ("0", "65536", "80,", "http", "-1", "80 81"):
        unchanged(world, "invalid_argument", *GATEWAY, "start", "--ports=" + ports, address(3), sudo=True)


@suite.case("address in use, peer mapped elsewhere: already_exists")
def exists(world):
    unchanged(world, "already_exists", *GATEWAY, "map", address(3), "10.4.0.1")
    unchanged(world, "already_exists", *GATEWAY, "map", address(BETA), "10.4.0.9")
    refused(world, "alpha", "already_exists", "daemon", "start", "--registry", "192.0.2.1:9000", "--beacon", "192.0.2.1:9001")


@suite.case("unknown host, unknown mapping: not_found")
def unknown(world):
    unchanged(world, "not_found", *GATEWAY, "map", "no-such-agent")
    unchanged(world, "not_found", *GATEWAY, "unmap", "10.4.0.200")
    refused(world, "alpha", "not_found", "find", "no-such-agent")


@suite.case("the map of an already mapped peer answers its address")
def idempotent(world):
    expect_equal(pilotctl(world, "alpha", *GATEWAY, "map", address(BETA))["local_ip"], "10.4.0.1", "the address")
    pilotctl(world, "alpha", *GATEWAY, "stop", sudo=True)


@suite.case("a subnet is said by who types sudo; subnet full: exhausted")
def exhausted(world):
    gateway_start(world, "--subnet", "10.77.0.0/30", "--ports", "8080", address(BETA))
    # Root takes a subnet from who types it, not from the daemon, but for one that a helper of root's has already.
    gateway_start(world, "--ports", "8080", address(BETA))
    helper = world.run("alpha", "pgrep", "-x", "pilot-helper", user="root").stdout.strip()
    kill(world, "alpha", helper, "KILL")
    message = refused(world, "alpha", "invalid_argument", *GATEWAY, "start", "--ports", "8080", address(BETA), sudo=True)
    expect("10.77.0.0/30" in message, message)
    expect_equal(world.run("alpha", "pgrep", "-x", "pilot-helper", user="root", check=False).stdout, "", "helpers after a start that was refused")
    gateway_start(world, "--subnet", "10.77.0.0/30", "--ports", "8080", address(BETA))
    for number in range(3, 12):
        done = world.run("alpha", "pilotctl", "--json", *GATEWAY, "map", address(number), check=False)
        if done.returncode != 0:
            expect_equal(json.loads(done.stderr.splitlines()[-1])["code"], "exhausted", "the code")
            break
    else:
        raise AssertionError("a /30 took ten peers")
    unchanged(world, "exhausted", *GATEWAY, "map", address(100))
    pilotctl(world, "alpha", *GATEWAY, "stop", sudo=True)


@suite.case("plain listeners: a held port is named, the other works; all held is exit 1")
def held(world):
    serve(world, "beta", 8080)
    serve(world, "alpha", 8081)
    words = ("sudo", "pilotctl", "--json", *GATEWAY, "start", "--mode", "listen", "--ports", "8080,8081", address(BETA))
    done = world.run("alpha", *words)
    ports = {port["port"]: port for port in mappings(world)["10.4.0.1"]["ports"]}
    expect_equal(ports[8081]["state"], "held", "the state of port 8081")
    expect("python" in ports[8081]["detail"], f"the holder is not named: {ports[8081]['detail']!r}")
    expect("8081" in done.stdout + done.stderr, "the command does not report the held port")
    curl(world, "alpha", "http://10.4.0.1:8080/", "-f")
    pilotctl(world, "alpha", *GATEWAY, "stop", sudo=True)
    before = network_state(world, "alpha")
    done = world.run("alpha", *words[:-2], "8081", address(BETA), check=False)
    expect_equal(done.returncode, 1, "exit when every port fails")
    # The helper that was started for it is gone too: without root nothing is to be had again.
    done = world.run("alpha", "pilotctl", "--json", *GATEWAY, "start", "--ports", "8080", address(BETA), check=False)
    expect_equal(json.loads(done.stderr.splitlines()[-1])["code"], "permission_denied", "the code of a start without sudo")
    expect_equal(network_state(world, "alpha"), before, "addresses, routes and rules")


@suite.case("a mapping of one user: others are refused at once, also after a restart, with both ways of listening")
def one_user(world):
    # Beta serves since the case before.
    write_file(world, "beta", "www/index.html", "page")
    refused(world, "alpha", "invalid_argument", *GATEWAY, "start", "--user", "nobody-of-this-name", address(BETA), sudo=True)
    for mode in ("redirect", "listen"):
        gateway_start(world, "--mode", mode, "--user", "other", "--ports", "8080", address(BETA))
        expect_equal(mappings(world)["10.4.0.1"]["uid"], 1001, "uid in the list")
        expect("only other" in world.run("alpha", "pilotctl", "gateway", "list").stdout, "the list for people does not name the user")
        for again in (False, True):
            if again:
                restart_daemon(world, "alpha")
            wait_until(lambda: curl_as(world, "other").stdout == "page", 20, "the page for the user who may", every=0.5)
            for user in ("user", "root"):
                connect_refused(world, "10.4.0.1", 8080, 1, user=user)
            expect("only user id 1001 may connect" in mappings(world)["10.4.0.1"]["last_error"], "gateway list says why")
            expect_equal(curl_as(world, "other").stdout, "page", "the page afterwards")
        # From now on it is another's.
        pilotctl(world, "alpha", *GATEWAY, "map", "--user", "user", address(BETA))
        expect_equal(curl_as(world, "user").stdout, "page", "the page for the new user")
        connect_refused(world, "10.4.0.1", 8080, 1, user="other")
        pilotctl(world, "alpha", *GATEWAY, "stop", sudo=True)


@suite.case("no daemon: not_running")
def no_daemon(world):
    pilotctl(world, "alpha", "daemon", "stop")
    for words in (("info",), ("trust",), ("handshake", address(BETA)), (*GATEWAY, "list"), ("daemon", "stop")):
        refused(world, "alpha", "not_running", *words)
    expect_equal(world.run("alpha", "pilotctl", "daemon", "status", "--check", check=False).returncode, 1, "daemon status --check")


@suite.case("usage: exit 2 without arguments and for an unknown command, 0 for help")
def usage(world):
    expect_equal(world.run("alpha", "pilotctl", check=False).returncode, 2, "pilotctl")
    expect_equal(world.run("alpha", "pilotctl", "no-such-command", check=False).returncode, 2, "an unknown command")
    expect_equal(world.run("alpha", "pilotctl", "handshake", "--help", check=False).returncode, 0, "help")


suite.main()
