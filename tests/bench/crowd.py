# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures of tools/bench with many others: what a mapping costs that nobody uses, and eight streams to as many peers."""

import json

from labkit.namespace import LabError
from labkit.player import address, gateway_start, pilotctl, trusted_ids
from labkit.world import BEACON, REGISTRY, wait_until

# Node ids that nobody has: a mapping asks nobody before it is used.
MAPPINGS, FIRST_MAPPED = 200, 100000
PEERS = 8


# --- mappings --------------------------------------------------------------------------------------------------------------------------


def _private_dirty(world, pids):
    text = world.run("alpha", "cat", *(f"/proc/{pid}/smaps_rollup" for pid in pids), user="root").stdout
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty:"))


def mappings(bench):
    """Private dirty memory of daemon and helper for each of 200 mappings."""
    world = bench.world
    helper = world.run("alpha", "pgrep", "-x", "pilot-helper", user="root").stdout.split()
    if len(helper) != 1:
        raise LabError(f"{len(helper)} helpers run on alpha, one is wanted")
    processes = (pilotctl(world, "alpha", "daemon", "status")["pid"], *helper)
    before = _private_dirty(world, processes)
    try:
        gateway_start(world, *(address(FIRST_MAPPED + number) for number in range(MAPPINGS)))
        up = [mapping for mapping in pilotctl(world, "alpha", "extras", "gateway", "list")["mappings"] if mapping["node_id"] >= FIRST_MAPPED]
        if len(up) != MAPPINGS or any(mapping["state"] != "up" for mapping in up):
            raise LabError(f"{len(up)} of {MAPPINGS} mappings are there, in the states {sorted({mapping['state'] for mapping in up})}")
        yield {"name": "memory-mapping", "value": round((_private_dirty(world, processes) - before) / MAPPINGS, 2), "unit": "kB per idle mapping",
               "against": None, "ratio": None, "mappings": MAPPINGS}
    finally:
        pilotctl(world, "alpha", "extras", "gateway", "stop", sudo=True)
        gateway_start(world, address(2))


# --- eight peers -----------------------------------------------------------------------------------------------------------------------


class _Peer:
    """A further node of beta, with folders of its own."""

    def __init__(self, world, number):
        self.world, self.number = world, number
        self.folder, self.ip = f"/tmp/peer-{number}", f"10.4.1.{number}"
        self.id = None

    def ctl(self, *argv):
        words = ("env", f"HOME={self.folder}", f"XDG_RUNTIME_DIR={self.folder}/run", "pilotctl", "--json", *argv)
        return json.loads(self.world.run("beta", *words).stdout)["data"]

    def start(self):
        """Registered, trusted and mapped."""
        world = self.world
        world.run("beta", "mkdir", "-p", "-m", "700", self.folder, f"{self.folder}/run")
        self.ctl("daemon", "start", "--hostname", f"peer-{self.number}", "--registry", REGISTRY, "--beacon", BEACON)
        self.id = wait_until(lambda: self.ctl("info").get("node_id"), 20, f"peer {self.number} is registered")
        pilotctl(world, "alpha", "handshake", address(self.id), "bench")
        wait_until(lambda: self.ctl("pending")["pending"], 20, f"the request arrives at peer {self.number}")
        self.ctl("approve", "1")
        wait_until(lambda: self.id in trusted_ids(world, "alpha"), 20, f"the approval of peer {self.number} lands")
        pilotctl(world, "alpha", "extras", "gateway", "map", address(self.id), self.ip)

    def stop(self):
        """As far as it came."""
        if self.id is not None:
            self.world.run("alpha", "pilotctl", "gateway", "unmap", self.ip, check=False)
            self.ctl("daemon", "stop")


def eight_peers(bench):
    """A stream to each of eight peers at the same time: their sum beside a single one, and how evenly they share."""
    world = bench.world
    peers = [_Peer(world, number) for number in range(1, PEERS + 1)]
    try:
        world.in_parallel(_Peer.start, peers)
        yield bench.paths.beside_one("streams-8-peers", [peer.ip for peer in peers], bench.paths.port)
    finally:
        world.in_parallel(_Peer.stop, peers)
