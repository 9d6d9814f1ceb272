# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the cases do over and over: type pilotctl commands, serve and fetch."""

import json
import time

from .namespace import run
from .tap import expect, expect_equal
from .world import wait_until

ALPHA, BETA, GAMMA = 1, 2, 3


def address(node_id):
    return f"0:{node_id >> 32 & 0xffff:04X}.{node_id >> 16 & 0xffff:04X}.{node_id & 0xffff:04X}"


def pilotctl(world, host, *argv, sudo=False, user="user", timeout=60):
    """Runs pilotctl and answers its data; a failure raises."""
    done = world.run(host, *(["sudo"] if sudo else []), "pilotctl", "--json", *argv, user=user, timeout=timeout)
    answer = json.loads(done.stdout)
    expect_equal(answer.get("status"), "ok", f"pilotctl {' '.join(argv)}")
    return answer["data"]


def refused(world, host, code, *argv, sudo=False, user="user", timeout=60):
    """Runs pilotctl, which must fail with this code (None: any), exit 1, and nothing on stdout. Answers the message."""
    done = world.run(host, *(["sudo"] if sudo else []), "pilotctl", "--json", *argv, user=user, timeout=timeout, check=False)
    said = f"pilotctl {' '.join(argv)}: exit {done.returncode}, stdout {done.stdout!r}, stderr {done.stderr!r}"
    expect(done.returncode == 1 and done.stdout == "", said)
    error = json.loads(done.stderr.strip().splitlines()[-1])
    expect(error.get("status") == "error" and code in (None, error.get("code")), said)
    expect(error.get("message"), said)
    return error["message"]


def trusted_ids(world, host):
    return {record["node_id"] for record in pilotctl(world, host, "trust")["trusted"]}


def pending_ids(world, host):
    return {record["node_id"] for record in pilotctl(world, host, "pending")["pending"]}


def make_trust(world, asker=("alpha", ALPHA), granter=("beta", BETA), name=None, approve=(), seconds=20):
    """One node asks, the other approves, and the first must see that within so many seconds."""
    pilotctl(world, asker[0], "handshake", name or address(granter[1]), "let me read your page")
    wait_until(lambda: asker[1] in pending_ids(world, granter[0]), 10, "the request arrives")
    pilotctl(world, granter[0], "approve", str(asker[1]), *approve)
    wait_until(lambda: granter[1] in trusted_ids(world, asker[0]), seconds, "the approval lands")


def mappings(world, host="alpha"):
    """local address → the mapping, as `gateway list` shows it."""
    return {mapping["local_ip"]: mapping for mapping in pilotctl(world, host, "extras", "gateway", "list")["mappings"]}


def write_file(world, host, path, data, user="user"):
    world.run(host, "sh", "-c", 'cat >"$1"', "sh", path, stdin=data, user=user)


def serve(world, host, port, folder="www", bind="0.0.0.0", user="user"):
    """python3 -m http.server on a folder of the user's home; answers its pid when it listens."""
    world.run(host, "mkdir", "-p", folder, user=user)
    pid = world.background(host, "http.log", "python3", "-m", "http.server", "--bind", bind, "--directory", folder, str(port), user=user)
    wait_listening(world, host, port)
    return pid


def wait_listening(world, host, port):
    wait_until(lambda: world.run(host, "ss", "-Hltn", f"sport = :{port}").stdout.strip(), 10, f"port {port} of {host} listens")


def kill(world, host, pid, signal="TERM", user="root"):
    world.run(host, "kill", f"-{signal}", str(pid), user=user)
    wait_until(lambda: world.run(host, "kill", "-0", str(pid), user="root", check=False).returncode != 0, 10, f"process {pid} ends")


def curl(world, host, url, *options, timeout=60, check=True, user="user"):
    return world.run(host, "curl", "-sS", "--max-time", str(timeout - 5), *options, url, timeout=timeout, check=check, user=user)


def network_state(world, host):
    """Everything the gateway could change: addresses, routes, rules. Tables in the order of their names, because one that is made anew
    comes last."""
    rules = world.run(host, "nft", "list", "ruleset", user="root").stdout
    return "\n".join([world.run(host, *words, user="root").stdout for words in (("ip", "-o", "addr", "show"), ("ip", "route", "show", "table", "all"))]
                     + sorted(rules.replace("\n}\n", "\n}\n\0").split("\0")))


def gateway_start(world, *argv, host="alpha"):
    return pilotctl(world, host, "extras", "gateway", "start", *argv, sudo=True)


def timed(function):
    """Answers what the function answers and how many seconds it took."""
    started = time.monotonic()
    return function(), time.monotonic() - started


def time_to_end(world, ip, port, timeout, host="alpha", user="user"):
    """A connection from the host ends without a byte: answers after how many seconds by curl's own watch, which does not count how long a busy machine takes
    to start it."""
    done = curl(world, host, f"http://{ip}:{port}/", "-w", "%{time_total}", timeout=timeout, check=False, user=user)
    expect(done.returncode in (7, 52, 56), f"curl {ip}:{port}: exit {done.returncode}, {done.stdout!r}, {done.stderr!r}")
    return float(done.stdout)


def connect_refused(world, ip, port, seconds, host="alpha", user="user"):
    """A connection from the host ends without a byte, within so many seconds of its start."""
    took = time_to_end(world, ip, port, int(seconds) + 30, host, user)
    # 0.4 s for a machine that has no processor left for curl and the daemon.
    expect(took < seconds + 0.4, f"curl {ip}:{port} was refused after {took:.2f} s instead of {seconds}")


def daemon_stop(world, host):
    pilotctl(world, host, "daemon", "stop")


def restart_daemon(world, host, signal=None):
    """Stops a daemon, or kills it, and starts it again."""
    if signal is None:
        daemon_stop(world, host)
    else:
        kill(world, host, pilotctl(world, host, "daemon", "status")["pid"], signal)
    world.start_daemon(host)


def fetch_page(world, port=8080, ip="10.4.0.1", host="alpha", seconds=20):
    """Asks for the page until it comes: what recovers by itself may take a while."""
    return wait_until(lambda: (done := curl(world, host, f"http://{ip}:{port}/", "-f", timeout=20, check=False)).returncode == 0 and done.stdout,
                      seconds, f"a page from {ip}:{port}", every=0.5)


def set_mtu(world, mtu, names=None):
    """The MTU of every device of these hosts and routers, or of all."""
    for name in names or list(world.state["namespaces"]):
        enter = world.namespace(name).enter("net")
        listed = run(enter + ["ip", "-o", "link", "show"])
        for device in (line.split(": ")[1].split("@")[0] for line in listed.splitlines()):
            if device != "lo":
                run(enter + ["ip", "link", "set", "dev", device, "mtu", str(mtu)])


def mean_datagram(world, function):
    """What the function answers, and how large the datagrams are that beta sent meanwhile."""
    before = pilotctl(world, "beta", "info")["transports"]["transport-udp"]
    answer = function()
    after = pilotctl(world, "beta", "info")["transports"]["transport-udp"]
    return answer, (after["bytes-sent"] - before["bytes-sent"]) / (after["datagrams-sent"] - before["datagrams-sent"])
