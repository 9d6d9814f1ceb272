# SPDX-License-Identifier: LGPL-2.1-or-later
"""Throughput for tools/interop: ours and Go, each as client and as server, over the same wire in one run, so that the ratios mean something."""

import os
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import node  # noqa: E402  -- puts the lab into the path
from labkit.player import gateway_start  # noqa: E402
from labkit.world import World, wait_until  # noqa: E402
from node import Go, Ours, ask_and_approve  # noqa: E402

STORE = 4001
# name: settings of the wire, MiB of a transfer. The wire is the uplink of whoever serves: each pair crosses one.
WIRES = {
    "LAN": ({}, 32),
    "LAN, 2 % loss": ({"delay": 0, "loss": 2, "seed": 3}, 8),
    "30 ms": ({"delay": 15, "loss": 0, "seed": 3}, 8),
    "30 ms, 2 % loss": ({"delay": 15, "loss": 2, "seed": 3}, 2),
}
CLIENTS, SERVERS = {"alpha": Ours, "gamma": Go}, {"beta": Go, "delta": Ours}
# Here chance decides, not the machine, and no wire has a rate: all pairs go at the same time, so that there can be many runs, and what else the machine does meets all of them.
AT_ONCE = ("30 ms, 2 % loss",)
PAIRS = [("alpha", "delta"), ("alpha", "beta"), ("gamma", "delta"), ("gamma", "beta")]


def pair_name(client, server):
    return f"{CLIENTS[client].kind} → {SERVERS[server].kind}"


class Figures:
    def __init__(self, build):
        self.world = World(f"figures-{os.getpid()}")
        self.world.up(build=build, hosts=("alpha", "beta", "gamma", "delta"), daemons=False, nats={host: "none" for host in "alpha beta gamma delta".split()})
        self.nodes = {}
        self.gateway = {}

    def close(self):
        self.world.down()

    def start(self):
        """Everybody trusts whom he measures, and is direct with him."""
        world, nodes = self.world, self.nodes
        node.fetch_programs(world.state["build"])
        world.start_rendezvous()
        for host, kind in {**CLIENTS, **SERVERS}.items():
            nodes[host] = kind(world, host).start()
        for client, server in PAIRS:
            ask_and_approve(nodes[client], nodes[server])
        for host in SERVERS:
            if SERVERS[host] is Ours:
                for client in CLIENTS:
                    nodes[host].ctl("expose", str(nodes[client].id))
            nodes[host].serve(STORE, "serve", str(STORE))
        gateway_start(world, "--ports", f"7,{STORE}", *[nodes[host].address for host in SERVERS])
        self.gateway = {host: f"10.4.0.{number}" for number, host in enumerate(SERVERS, 1)}

        def all_direct():
            for client, server in PAIRS:
                nodes[client].answers(nodes[server])
                nodes[server].answers(nodes[client])
            return all(nodes[a].path_to(nodes[b]) == "direct" for pair in PAIRS for a, b in (pair, pair[::-1]))

        wait_until(all_direct, 180, "all pairs are direct", every=1)

    def _address(self, client, server):
        return self.gateway[server] if CLIENTS[client] is Ours else self.nodes[server].address

    def _rate(self, client, server, what, mib, timeout):
        """MB/s, or None when it did not come to its end, or not with the right bytes. Go has a bench of its own for the echo, which no Python holds up."""
        try:
            if what == "echo" and CLIENTS[client] is Go:
                done = self.nodes[client].ctl("bench", self.nodes[client].target(self.nodes[server]), str(mib), timeout=timeout)
                return mib * 1048.576 / done["total_duration_ms"] if done["recv_bytes"] == done["sent_bytes"] else None
            seen = self.nodes[client].stream(what, self._address(client, server), "7" if what == "echo" else str(STORE), str(mib), timeout=timeout)
        except Exception as error:  # pylint: disable=broad-except  -- a pair that fails is a figure as well
            print(f"# {pair_name(client, server)}, {what}: {' '.join(str(error).split())[-200:]}", file=sys.stderr)
            return None
        return mib * 1.048576 / seen["seconds"] if seen["received"] == seen["sent"] else None

    def measure(self, repeat, kinds=("echo", "put"), timeout=240, more=None):
        """Yields (wire, what, {pair: MB/s or None}): the median of so many runs, the pairs in turn or, in AT_ONCE, together. `more` says of a wire how many runs,
        and of how many MiB, there are instead."""
        for wire, (settings, mib) in WIRES.items():
            for host in SERVERS:
                self.world.wire(host, settings, clear=not settings)
            runs, mib = (more or {}).get(wire, (repeat, mib))
            for what in kinds:
                def rate(pair, what=what, mib=mib):
                    return self._rate(*pair, what, mib, timeout)

                seen = [self.world.in_parallel(rate, PAIRS) if wire in AT_ONCE else [rate(pair) for pair in PAIRS] for _ in range(runs)]
                yield wire, what, {pair_name(*pair): None if None in rates else statistics.median(rates) for pair, rates in zip(PAIRS, zip(*seen))}
