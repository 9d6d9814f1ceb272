#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""State on disk: broken files are left alone, a full disk loses nothing."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import ALPHA, BETA, address, make_trust, pending_ids, pilotctl, trusted_ids, write_file  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import BEACON, REGISTRY, wait_until  # noqa: E402

suite = tap.Suite("state")
START = ("pilotctl", "daemon", "start", "--registry", REGISTRY, "--beacon", BEACON)


def corrupt(file):
    def case(world):
        pilotctl(world, "beta", "daemon", "stop")
        whole = world.run("beta", "cat", f".pilot/{file}", check=False).stdout or "{}\n"
        broken = whole[:len(whole) // 2] + "\n]]"
        try:
            write_file(world, "beta", f".pilot/{file}", broken)
            done = world.run("beta", *START, check=False)
            expect_equal(done.returncode, 1, f"exit of a start with a broken {file}: {done.stdout!r} {done.stderr!r}")
            expect(file in done.stderr, f"the message does not name the file: {done.stderr!r}")
            expect_equal(world.run("beta", "cat", f".pilot/{file}").stdout, broken, "the file")
        finally:
            write_file(world, "beta", f".pilot/{file}", whole)
            world.start_daemon("beta")
        expect_equal(pilotctl(world, "beta", "info")["node_id"], BETA, "the node id afterwards")
    return case


@suite.case("secrets are for their owner alone")
def modes(world):
    make_trust(world)
    for file in ("identity.json", "trust.json"):
        expect_equal(world.run("beta", "stat", "-c", "%a", f".pilot/{file}").stdout, "600\n", f"the mode of {file}")
    key = world.run("beta", "sed", "-n", 's/.*"private_key" *: *"\\([^"]*\\)".*/\\1/p', ".pilot/identity.json").stdout.strip()
    expect(len(key) > 40, "identity.json has no private key")
    expect(key[:40] not in world.run("beta", "sh", "-c", "cat .pilot/*.log").stdout, "the private key is in a log")


for name in ("trust.json", "identity.json", "access.json", "config.json"):
    suite.case(f"a corrupt {name}: start is refused, the file stays")(corrupt(name))


@suite.case("disk full while saving: the caller is told and the old state stays whole")
def full(world):
    pilotctl(world, "beta", "daemon", "stop")
    # The same files on a file system that has room for one page more and no other.
    world.run("beta", "sh", "-c", "cp -a ~user/.pilot /tmp/saved && mount -t tmpfs -o size=128k,mode=700,uid=1000,gid=1000 tmpfs ~user/.pilot "
              "&& cp -a /tmp/saved/*.json ~user/.pilot/", user="root")
    try:
        world.start_daemon("beta")
        world.run("beta", "sh", "-c", "dd if=/dev/zero of=.pilot/filler bs=1k 2>/dev/null; :")
        before = world.run("beta", "cat", ".pilot/trust.json").stdout
        done = world.run("beta", "pilotctl", "--json", "untrust", str(ALPHA), check=False)
        expect_equal(done.returncode, 1, f"exit of untrust: {done.stdout!r}")
        expect_equal(world.run("beta", "cat", ".pilot/trust.json").stdout, before, "trust.json")
        world.run("beta", "rm", ".pilot/filler")
        expect(ALPHA in trusted_ids(world, "beta"), "the record is gone though the command failed")
        pilotctl(world, "beta", "untrust", str(ALPHA))
        expect(ALPHA not in trusted_ids(world, "beta"), "the record stays though the command succeeded")
        pilotctl(world, "beta", "daemon", "stop")
    finally:
        world.run("beta", "umount", "-l", "/home/user/.pilot", user="root")
    world.start_daemon("beta")


@suite.case("a daemon that cannot reach its registry has started and says so")
def connecting(world):
    pilotctl(world, "beta", "daemon", "stop")
    pid = world.run("net", "pgrep", "-f", "pilot-rendezvous --registry").stdout.split()[0]
    world.run("net", "kill", pid)
    world.run("beta", *START)
    expect_equal(pilotctl(world, "beta", "info")["state"], "connecting", "the state")
    world.start_rendezvous()
    world.wait_online("beta", seconds=40)
    world.wait_online("alpha", seconds=70)


@suite.case("without a registry configured, start fails and says how to set one")
def no_registry(world):
    done = world.run("neighbour", "pilotctl", "daemon", "start", check=False)
    expect_equal(done.returncode, 1, "exit")
    expect("--registry" in done.stderr or "pilotctl init" in done.stderr, f"the message: {done.stderr!r}")


@suite.case("reject: the asker gets nothing")
def reject(world):
    for host, other in (("alpha", BETA), ("beta", ALPHA)):
        world.run(host, "pilotctl", "untrust", str(other), check=False)
    wait_until(lambda: BETA not in trusted_ids(world, "alpha"), 10, "alpha no longer trusts")
    pilotctl(world, "alpha", "handshake", address(BETA), "again")
    wait_until(lambda: ALPHA in pending_ids(world, "beta"), 10, "the request arrives")
    pilotctl(world, "beta", "reject", str(ALPHA), "no, thank you")
    wait_until(lambda: ALPHA not in pending_ids(world, "beta"), 20, "the request is gone")
    expect(BETA not in trusted_ids(world, "alpha") and ALPHA not in trusted_ids(world, "beta"), "a rejected request gave trust")


suite.main()
