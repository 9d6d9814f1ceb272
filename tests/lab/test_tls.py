#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The registry over TLS: a certificate of one's own, pinned; the wrong one, none, and another one after a restart."""

import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import kill, pilotctl  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

suite = tap.Suite("tls", hosts=("alpha", "beta", "gamma", "delta"), daemons=False)
PLAIN = "192.0.2.1:9002"
WRONG = "0123456789abcdef" * 4
fingerprints = {}
rendezvous = {}


def certificate(world, name):
    """Made as a person would, without Pilot; answers its SHA-256 as openssl has it."""
    world.run("net", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
              "/CN=registry.lab", "-keyout", f"{name}.key", "-out", f"{name}.crt")
    text = world.run("net", "openssl", "x509", "-in", f"{name}.crt", "-noout", "-fingerprint", "-sha256").stdout
    return text.partition("=")[2].strip().replace(":", "").lower()


def start_rendezvous(world, name):
    """Answers the fingerprint that it prints when it is ready."""
    world.run("net", "rm", "-f", "rendezvous.log")
    rendezvous["pid"] = world.start_rendezvous("--registry-plain-addr", PLAIN, "--tls-cert", f"{name}.crt", "--tls-key", f"{name}.key")
    return wait_until(lambda: re.search(r"\(tls ([0-9a-f]{64})\)", world.run("net", "cat", "rendezvous.log").stdout), 10, "the ready line").group(1)


def begin(world, host, *arguments):
    """A daemon that may never get online."""
    world.run(host, "pilotctl", "daemon", "start", "--hostname", f"agent-{host}", "--registry", "192.0.2.1:9000",
              "--beacon", "192.0.2.1:9001", *arguments)


def says(world, host, *words):
    """The daemon is not online and says why: all these words."""
    info = wait_until(lambda: (found := world.info(host)) and all(word in found["state_detail"] for word in words) and found, 20,
                      f"{host} says {words}: {world.info(host)}")
    expect_equal(info["state"], "connecting", f"the state of {host}")
    return info["state_detail"]


@suite.first("a pinned certificate: its fingerprint as the rendezvous prints it, and a daemon is online")
def pinned(world):
    fingerprints["first"], fingerprints["second"] = certificate(world, "first"), certificate(world, "second")
    expect_equal(start_rendezvous(world, "first"), fingerprints["first"], "what the rendezvous prints")
    begin(world, "alpha", "--registry-tls", "--registry-fingerprint", fingerprints["first"])
    world.wait_online("alpha")


@suite.case("another certificate than the pinned one is refused, and both are named")
def wrong(world):
    begin(world, "beta", "--registry-tls", "--registry-fingerprint", WRONG)
    says(world, "beta", "certificate", fingerprints["first"], WRONG)


@suite.case("plain TCP to a TLS port, and TLS to a plain port: each is told which it is")
def mixed(world):
    begin(world, "gamma")
    begin(world, "delta", "--registry", PLAIN, "--registry-tls", "--registry-fingerprint", fingerprints["first"])
    says(world, "gamma", "TLS", "registry-tls")
    says(world, "delta", "does not speak TLS")


@suite.case("TLS without a fingerprint does not start, and says what is missing")
def incomplete(world):
    pilotctl(world, "gamma", "daemon", "stop")
    for arguments in ((), ("--registry-fingerprint", "12"), ("--registry-fingerprint", "x" * 64)):
        done = world.run("gamma", "pilotctl", "daemon", "start", "--registry", "192.0.2.1:9000", "--registry-tls", *arguments, check=False)
        expect(done.returncode == 1 and "fingerprint" in done.stderr, f"with {arguments}: exit {done.returncode}, {done.stderr!r}")


@suite.case("an unknown certificate is refused where those of the system are trusted")
def system(world):
    begin(world, "gamma", "--registry-tls", "--registry-trust", "system")
    says(world, "gamma", "certificate")


@suite.case("the rendezvous comes back with another certificate: nobody follows it; with the old one everybody is back")
def replaced(world):
    kill(world, "net", rendezvous["pid"])
    expect_equal(start_rendezvous(world, "second"), fingerprints["second"], "what the rendezvous prints")
    says(world, "alpha", "certificate", fingerprints["second"], fingerprints["first"])
    kill(world, "net", rendezvous["pid"])
    start_rendezvous(world, "first")
    world.wait_online("alpha", 60)


suite.main()
