#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compat mode: no UDP gets out, or nothing but an HTTP proxy with a password does, and pages come all the same."""

import json
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import tap  # noqa: E402
from labkit.player import address, curl, gateway_start, kill, make_trust, pilotctl, serve, write_file  # noqa: E402
from labkit.tap import expect, expect_equal  # noqa: E402
from labkit.world import wait_until  # noqa: E402

# alpha and gamma cannot use UDP; gamma's router forwards nothing at all, and has a proxy. beta stands behind an ordinary NAT.
suite = tap.Suite("compat", hosts=("alpha", "beta", "gamma"), nats={"alpha": "udp-blocked", "beta": "port-restricted", "gamma": "udp-blocked"}, daemons=False)
URL = "wss://net/v1/compat"
USER, PASSWORD = "lab", "s3cret%21"  # as it stands in a URL
PROXY_PORT = 3128
PAGES = {host: f"<p>this is {host}\n" for host in suite.world_options["hosts"]}
HERE = os.path.dirname(os.path.abspath(__file__))
ids = {}
fingerprint = []


def start_rendezvous(world):
    return world.start_rendezvous("--registry-addr", "192.0.2.1:9443", "--registry-plain-addr", "192.0.2.1:9000", "--compat-addr", "192.0.2.1:443",
                                  "--tls-cert", "cert.pem", "--tls-key", "key.pem", "--tls-generate")


def start(world, host, *arguments, environment=()):
    world.start_daemon(host, "--transport", "auto", "--compat-beacon", URL, "--registry-fingerprint", fingerprint[0], *arguments, environment=environment)
    ids[host] = world.info(host)["node_id"]


def proxy_url(world, password=PASSWORD):
    return f"http://{USER}:{password}@{world.lan_address('gamma', 1)}:{PROXY_PORT}"


def proxy_log(world):
    with open(os.path.join(world.folder, "proxy.log"), encoding="utf-8") as log:
        return log.read().splitlines()


def page(world, host, ip, seconds=20):
    return curl(world, host, f"http://{ip}:8080/", timeout=seconds + 5, check=False).stdout


def path(world, host, peer):
    return next(one["path"] for one in pilotctl(world, host, "peers")["peers"] if one["node_id"] == ids[peer])


@suite.first("auto: compat where UDP is blocked, UDP elsewhere")
def auto(world):
    world.run("net", "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start", user="root")
    start_rendezvous(world)
    fingerprint.append(re.search(r"\(tls ([0-9a-f]{64})\)", wait_until(lambda: world.run("net", "cat", "rendezvous.log").stdout, 10, "the ready line")).group(1))
    world.in_parallel(lambda host: start(world, host), ("alpha", "beta"))
    for host, transport, registry in (("alpha", "compat", "net:443"), ("beta", "udp", "192.0.2.1:9000")):
        info = world.info(host)
        expect_equal((info["transport"], info["registry"]), (transport, registry), f"what {host} uses")
        expect_equal(pilotctl(world, host, "daemon", "status")["transport"], transport, "as daemon status has it")
    expect("pilotd" not in world.run("alpha", "ss", "-Hulpn", user="root").stdout, "alpha has a UDP socket")
    facts = pilotctl(world, "alpha", "netcheck")
    expect_equal([facts[key] for key in ("transport", "registry", "beacon", "udp", "relay", "problems", "advice")],
                 ["compat", "net:443", URL, "not-used", "always", [], []], "netcheck of alpha")
    expect(0 <= facts["beacon_rtt_ms"] < 3000 and 0 <= facts["registry_rtt_ms"] < 8000, f"round trips: {facts}")
    plugins = {plugin["name"]: plugin["state"] for plugin in pilotctl(world, "alpha", "plugins")["plugins"]}
    expect_equal((plugins["transport-udp"], plugins["transport-wss"]), ("disabled", "enabled"), "the transports of alpha")


@suite.case("a proxy with a password is the only way out: by its credentials, never shown, and by name")
def proxy(world):
    world.namespace("router-gamma").nft("insert rule ip lab forward drop\n")
    script = os.path.join(HERE, "labkit", "proxy.py")
    process = world.spawn("router-gamma", "python3", script, str(PROXY_PORT), f"{USER}:s3cret!", os.path.join(world.folder, "proxy.log"), "net=192.0.2.1",
                          user="root", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    expect_equal(process.stdout.readline(), b"ready\n", "the proxy")
    world.run("gamma", "pilotctl", "daemon", "start", "--hostname", "agent-gamma", "--registry", "192.0.2.1:9000", "--beacon", "192.0.2.1:9001",
              "--transport", "auto", "--compat-beacon", URL, "--registry-fingerprint", fingerprint[0], "--proxy", proxy_url(world, "wrong"))
    detail = wait_until(lambda: world.info("gamma")["state_detail"], 20, "it says why it is not online")
    expect("proxy" in detail and "wrong" not in detail, f"state detail {detail!r}")
    pilotctl(world, "gamma", "daemon", "stop")
    start(world, "gamma", "--proxy", proxy_url(world))
    expect_equal(world.info("gamma")["transport"], "compat", "the transport of gamma")
    log = proxy_log(world)
    expect_equal({line for line in log if line.startswith("200")}, {"200 net:443"}, f"what went through the proxy ({log})")
    everything = world.run("gamma", "sh", "-c", "cat .pilot/*.log; ps -eo args; pilotctl info; pilotctl --json info; pilotctl plugins").stdout
    expect("s3cret" not in everything and "wrong" not in everything, "the password of the proxy is shown")
    expect("***@" in everything, "the log does not say that there is a proxy")


@suite.case("pages through the gateway: from blocked to NAT, from proxy to both, and back", needs=[proxy])
def pages(world):
    for host, text in PAGES.items():
        world.run(host, "mkdir", "-p", "www")
        write_file(world, host, "www/index.html", text)
        serve(world, host, 8080)
    pairs = (("alpha", "beta"), ("gamma", "beta"), ("gamma", "alpha"), ("beta", "alpha"))
    for host, peer in pairs[:3]:
        make_trust(world, (host, ids[host]), (peer, ids[peer]))
    pilotctl(world, "beta", "expose", str(ids["alpha"]))
    pilotctl(world, "alpha", "expose", str(ids["beta"]))
    peers = {host: [peer for one, peer in pairs if one == host] for host in ("alpha", "beta", "gamma")}
    for host, targets in peers.items():
        gateway_start(world, "--ports", "8080", *(address(ids[peer]) for peer in targets), host=host)
    for host, targets in peers.items():
        for index, peer in enumerate(targets, 1):
            expect_equal(page(world, host, f"10.4.0.{index}"), PAGES[peer], f"what {host} gets from {peer}")
            expect_equal(path(world, host, peer), "relay", f"the path from {host} to {peer}")


@suite.case("10 MB each way have the right SHA-256", needs=[pages])
def big(world):
    for host in ("alpha", "beta"):
        world.run(host, "sh", "-c", "head -c 10000000 /dev/urandom >www/big")
    digests = world.in_parallel(lambda host: world.run(host, "sh", "-c", 'curl -sS --max-time 50 "http://10.4.0.1:8080/big" | sha256sum').stdout.split()[0],
                                ("alpha", "beta"))
    wanted = [world.run(host, "sha256sum", "www/big").stdout.split()[0] for host in ("beta", "alpha")]
    expect_equal(digests, wanted, "the digests")


@suite.case("the daemon that was stopped and the rendezvous that starts anew are found again", needs=[pages])
def restart(world):
    kill(world, "net", world.run("net", "pgrep", "-x", "pilot-rendezvou").stdout.strip())
    wait_until(lambda: world.info("alpha")["state"] == "connecting", 20, "alpha sees that the beacon is gone")
    done = world.run("alpha", "pilotctl", "netcheck", check=False)
    expect(done.returncode == 1 and "! the registry net:443 does not answer" in done.stdout and f"! the compat beacon does not answer: beacon {URL}: " in done.stdout,
           f"netcheck without a rendezvous: exit {done.returncode}: {done.stdout}")
    start_rendezvous(world)
    world.in_parallel(lambda host: world.wait_online(host, 60), ("alpha", "beta", "gamma"))
    pilotctl(world, "gamma", "daemon", "stop")
    refused = proxy_log(world).count("407 net:443")
    # Credentials from a command that tells old ones first.
    old, new = proxy_url(world, "wrong"), proxy_url(world)
    start(world, "gamma", "--proxy-cmd", f"cd .pilot; if [ -e asked ]; then echo {new}; else touch asked; echo {old}; fi", "--wait", "60s")
    expect(proxy_log(world).count("407 net:443") > refused, "the old credentials were not tried")
    for host, peer in (("alpha", "beta"), ("gamma", "beta")):
        wait_until(lambda host=host, peer=peer: page(world, host, "10.4.0.1", 5) == PAGES[peer], 40, f"the page of {peer} at {host}")


@suite.case("auto without a compat beacon is UDP; one that is wrong stops the start")
def settings(world):
    pilotctl(world, "alpha", "daemon", "stop")
    for flags, text in ((("--transport", "compat"), "compat mode needs the address of a beacon"), (("--transport", "tcp"), 'transport is "tcp"'),
                        (("--compat-beacon", "https://net/"), 'compat_beacon is "https://net/"'), (("--proxy", "user:hidden@x"), "the proxy is not"),
                        (("--transport", "compat", "--compat-beacon", URL, "--tls-trust", "none"), 'tls_trust is "none"')):
        done = world.run("alpha", "pilotctl", "--json", "daemon", "start", "--registry", "192.0.2.1:9000", *flags, check=False)
        message = json.loads(done.stderr.strip().splitlines()[-1])["message"]
        expect(done.returncode == 1 and text in message and "hidden" not in message, f"{flags}: {message}")
    # The system trusts no such certificate, and says so.
    world.run("alpha", "pilotctl", "daemon", "start", "--registry", "192.0.2.1:9000", "--beacon", "192.0.2.1:9001", "--transport", "compat",
              "--compat-beacon", URL)
    detail = wait_until(lambda: world.info("alpha")["state_detail"], 20, "it says why it is not online")
    expect("ertificate" in detail, f"state detail {detail!r}")


@suite.case("without compat mode the registry is reached and the beacon is not, and the node says so")
def udp_blocked(world):
    pilotctl(world, "alpha", "daemon", "stop")
    started = world.run("alpha", "pilotctl", "daemon", "start", "--registry", "192.0.2.1:9000", "--beacon", "192.0.2.1:9001").stdout
    expect("online — the beacon 192.0.2.1:9001 does not answer" in started, started)
    expect("the beacon 192.0.2.1:9001 does not answer" in world.run("alpha", "pilotctl", "daemon", "status").stdout, "daemon status does not say it")
    info = world.info("alpha")
    expect_equal((info["state"], "UDP is blocked" in info["state_detail"]), ("online", True), str(info))


suite.main()
