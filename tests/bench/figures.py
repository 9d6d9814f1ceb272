# SPDX-License-Identifier: LGPL-2.1-or-later
"""The figures of tools/bench. Each is measured through Pilot, through `ssh -L` and over TCP alone, in one run, between the same hosts."""

import contextlib
import json
import os
import time

from labkit.namespace import LabError
from labkit.player import address, gateway_start, make_trust, pilotctl, wait_listening
from labkit.world import BEACON, REGISTRY, World, wait_until
from load import PATH, install, load
from paths import Paths
from turns import in_turn
import crowd
import peers
import relayed

BULK, ECHO, IDLE, TUNNELLED = 9000, 9001, 9002, 10000
# Seconds in which a daemon without a transfer has given its memory back (daemon/core/heap-return.h).
QUIET = 6

# Answers the first byte of any number of connections to port 9002, and keeps them. Ports 9000 and 9001 are load.c's.
IDLE_SERVER = r"""
import resource, selectors, socket
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
wait = selectors.DefaultSelector(); server = socket.create_server(("0.0.0.0", 9002), backlog=4096); held = []
wait.register(server, selectors.EVENT_READ)
while True:
    for key, _ in wait.select():
        if key.fileobj is server:
            wait.register(server.accept()[0], selectors.EVENT_READ)
        else:
            s = key.fileobj; wait.unregister(s); data = s.recv(1)
            if data: s.sendall(data); held.append(s)
"""

# The median time, in ms, of so many files one after the other, each over a connection of its own.
FILES_CLIENT = r"""
import socket, statistics, sys, time
n, buffer, times = int(sys.argv[3]), bytearray(1 << 20), []
for _ in range(int(sys.argv[4])):
    started = time.monotonic(); s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20); s.settimeout(20); s.sendall(b"%d\n" % n); got = 0
    while got < n:
        k = s.recv_into(buffer)
        if k == 0: sys.exit("cut short")
        got += k
    times.append(time.monotonic() - started); s.close()
print(1000 * statistics.median(times))
"""

IDLE_CLIENT = r"""
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for _ in range(int(sys.argv[3])):
    s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); s.sendall(b"x"); assert s.recv(1) == b"x"; held.append(s)
print("held", flush=True); sys.stdin.read()
"""


def figure(name, value, unit, against=None, ratio=None, **more):
    return {"name": name, "value": round(value, 3), "unit": unit, "against": against, "ratio": None if ratio is None else round(ratio, 3), **more}


class Bench:
    """One world without NAT, so that ssh and plain TCP have a way as well."""

    def __init__(self, build, bulk_bytes):
        self.bulk_bytes = bulk_bytes
        self.world = World(f"bench-{os.getpid()}")
        self.world.up(build=build, nats={"alpha": "none", "beta": "none"}, daemons=False)
        # The limit of what it relays for one node, 200000 datagrams a second, is a policy, and less than the machine may be able to do.
        self.world.start_rendezvous("--relay-limit", "0")
        for host in ("alpha", "beta"):
            self.world.start_daemon(host)
        self.loopback_ready = False
        self.one_stream = None  # Mbit/s of one stream of ours on the veth
        self.paths = Paths(self, BULK)

    def close(self):
        self.world.down()

    def start(self):
        """Trust, the gateway, the servers and ssh -L from alpha to beta and from alpha to itself."""
        world = self.world
        make_trust(world)
        gateway_start(world, address(2))
        world.run("alpha", "sh", "-c", "mkdir -p -m 700 .ssh && ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519")
        key = world.run("alpha", "cat", ".ssh/id_ed25519.pub").stdout
        for host, port in (("beta", TUNNELLED), ("alpha", TUNNELLED + 10)):
            world.background(host, "idle.log", "python3", "-c", IDLE_SERVER, user="root")
            install(world, host)
            world.background(host, "load.log", PATH, "serve", str(ECHO))
            # As root, who may choose any congestion control.
            world.background(host, "send.log", PATH, "send", str(BULK), user="root")
            for listening in (BULK, ECHO, IDLE):
                wait_listening(world, host, listening)
            world.run(host, "sh", "-c", "mkdir -p -m 700 ~/.ssh && cat >>~/.ssh/authorized_keys && chmod 600 ~/.ssh/authorized_keys", stdin=key)
            world.run(host, "sh", "-c", "ssh-keygen -q -t ed25519 -N '' -f /root/host_key && /usr/sbin/sshd -f /dev/null -h /root/host_key "
                      "-o UsePAM=no -o PidFile=none -o ListenAddress=0.0.0.0 -p 2222", user="root")
            wait_listening(world, host, 2222)
            target = self.direct(host)
            world.background("alpha", "ssh.log", "ssh", "-N", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                             "-o", "BatchMode=yes", "-c", "aes256-gcm@openssh.com", "-p", "2222", "-L", f"{port}:127.0.0.1:{BULK}", "-L", f"{port + 1}:127.0.0.1:{ECHO}", f"user@{target}")
            wait_listening(world, "alpha", port + 1)

    def direct(self, host):
        return "127.0.0.1" if host == "alpha" else self.world.run("beta", "hostname", "-I").stdout.split()[0]

    def ways(self, host, port):
        """pilot, ssh and tcp as (address, port) seen from alpha."""
        tunnelled = (TUNNELLED if host == "beta" else TUNNELLED + 10) + (port - BULK)
        pilot = "10.4.0.1" if host == "beta" else "10.4.0.3"
        return {"pilot": (pilot, port), "ssh -L": ("127.0.0.1", tunnelled), "tcp": (self.direct(host), port)}

    @contextlib.contextmanager
    def cable(self):
        """One veth pair between alpha and beta, and the tunnel on it: daemons that have just started are on the relay for a second or two."""
        def is_direct(host, peer):
            return any(one["node_id"] == peer and one["path"] == "direct" for one in pilotctl(self.world, host, "peers")["peers"])
        with self.world.cable("alpha", "beta"):
            wait_until(lambda: is_direct("alpha", 2) and is_direct("beta", 1), 30, "the tunnel is direct")
            yield

    def start_loopback(self):
        """A second node on alpha itself, of its other user."""
        if self.loopback_ready:
            return
        world = self.world
        world.run("alpha", "pilotctl", "daemon", "start", "--hostname", "agent-other", "--registry", REGISTRY, "--beacon", BEACON, user="other")
        node = wait_until(lambda: json.loads(world.run("alpha", "pilotctl", "--json", "info", user="other").stdout)["data"].get("node_id"), 20,
                          "the second node of alpha is registered")
        pilotctl(world, "alpha", "handshake", address(node), "bench")
        wait_until(lambda: pilotctl(world, "alpha", "pending", user="other")["pending"], 10, "the request arrives")
        pilotctl(world, "alpha", "approve", "1", user="other")
        wait_until(lambda: any(r["node_id"] == node for r in pilotctl(world, "alpha", "trust")["trusted"]), 20, "the approval lands")
        pilotctl(world, "alpha", "extras", "gateway", "map", address(node), "10.4.0.3")
        self.loopback_ready = True

    def _client(self, script, *arguments, timeout=300):
        return [float(word) for word in self.world.run("alpha", "python3", "-c", script, *map(str, arguments), timeout=timeout).stdout.split()]

    def _bulk(self, name, host):
        ways = self.ways(host, BULK)
        speeds = in_turn(ways, lambda way: load(self.world, "alpha", "fetch", *ways[way], self.bulk_bytes), times=7)
        ours = speeds["pilot"][0]
        for against in ("ssh -L", "tcp"):
            theirs = speeds[against][0]
            yield figure(name, ours, "Mbit/s", against, ours / theirs, against_value=round(theirs, 1))

    def bulk_veth(self):
        """Over one veth pair, and then through the routers, where every packet passes two switches, two routers and their connection tracking."""
        with self.cable():
            for line in self._bulk("bulk-veth", "beta"):
                self.one_stream = line["value"]
                yield line
        yield from self._bulk("bulk-routed", "beta")

    def bulk_loopback(self):
        self.start_loopback()
        yield from self._bulk("bulk-loopback", "alpha")

    def files(self):
        """What most transfers are: short ones."""
        self.start_loopback()
        for where, host, cable in (("veth", "beta", self.cable), ("loopback", "alpha", contextlib.nullcontext)):
            with cable():
                ways = self.ways(host, BULK)
                del ways["tcp"]
                for label, size, count in (("100kB", 100000, 30), ("1MB", 1000000, 20), ("10MB", 10000000, 5)):
                    times = in_turn(ways, lambda way: self._client(FILES_CLIENT, *ways[way], size, count), times=3)
                    ours, theirs = times["pilot"][0], times["ssh -L"][0]
                    yield figure(f"file-{label}-{where}", ours, "ms", "ssh -L", ours / theirs, against_value=round(theirs, 2))

    def rtt(self):
        ways = self.ways("beta", ECHO)
        times = in_turn(ways, lambda way: load(self.world, "alpha", "round-trip", *ways[way]), times=9)
        for against in ("ssh -L", "tcp"):
            for index, name in enumerate(("rtt", "rtt-p99")):
                yield figure(name, times["pilot"][index], "us", against, times["pilot"][index] / times[against][index],
                             against_value=round(times[against][index], 1))

    def _connections(self, way, ip, port, at_once, each):
        rate, failed = load(self.world, "alpha", "connect", ip, port, at_once, each)
        if failed:
            raise LabError(f"{failed:.0f} of {at_once * each} connections failed: {way}")
        return [rate]

    def connect(self):
        """New connections one after another, by 32 at the same time, and 500 at once."""
        ways = self.ways("beta", ECHO)
        # More connections to one address within a minute than there are ports to make them from: those that are over give theirs back after a second.
        for host in ("alpha", "beta"):
            self.world.run(host, "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1", user="root")
        for at_once, each in ((1, 2000), (32, 125)):
            rates = in_turn(ways, lambda way: self._connections(way, *ways[way], at_once, each), times=3)
            for against in ("ssh -L", "tcp"):
                rate, other = rates["pilot"][0], rates[against][0]
                yield figure(f"connect-{at_once}", rate, "1/s", against, rate / other, against_value=round(other, 1))
        yield figure("connect-500-failed", load(self.world, "alpha", "connect", *ways["pilot"], 500, 1)[1], "of 500")

    def idle_cpu(self):
        """Processor time and turns of a daemon that has a tunnel and nothing to do."""
        pid = pilotctl(self.world, "alpha", "daemon", "status")["pid"]

        def state():
            ticks = self.world.run("alpha", "cat", f"/proc/{pid}/stat", user="root").stdout.rpartition(")")[2].split()[11:13]
            status = self.world.run("alpha", "cat", f"/proc/{pid}/status", user="root").stdout
            return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0]), time.monotonic()
        time.sleep(3)  # what the figures before have left behind
        before = state()
        time.sleep(20)
        after = state()
        yield figure("idle-cpu", 100 * (after[0] - before[0]) / (after[2] - before[2]), "%")
        yield figure("idle-wakeups", (after[1] - before[1]) / (after[2] - before[2]), "1/s")

    def _memory(self, host):
        """Resident and private dirty kB of a daemon."""
        pid = pilotctl(self.world, host, "daemon", "status")["pid"]
        text = self.world.run(host, "cat", f"/proc/{pid}/smaps_rollup", user="root").stdout
        values = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.endswith("kB")}
        return values["Rss"], values["Private_Dirty"]

    def memory_idle(self):
        for name, value in zip(("memory-idle-resident", "memory-idle"), self._memory("alpha")):
            yield figure(name, value, "kB")

    def memory_after(self):
        """What the daemons keep of the memory that a transfer took."""
        load(self.world, "alpha", "fetch", *self.ways("beta", BULK)["pilot"], self.bulk_bytes)
        time.sleep(QUIET)
        yield figure("memory-after", max(self._memory(host)[1] for host in ("alpha", "beta")), "kB")

    def memory_stream(self):
        yield from self._idle(1000)

    def idle_connections(self):
        yield from self._idle(10000)

    def _idle(self, n):
        time.sleep(QUIET)
        before = {host: self._memory(host)[1] for host in ("alpha", "beta")}
        ip = self.ways("beta", ECHO)["pilot"][0]
        with self.world.spawn("alpha", "python3", "-c", IDLE_CLIENT, ip, str(IDLE), str(n), stdin=-1, stdout=-1) as client:
            if client.stdout.readline() != b"held\n":
                raise LabError(f"the client could not hold {n} connections")
            for host, side in (("alpha", "memory-stream"), ("beta", "memory-stream-inbound")):
                yield figure(side if n == 1000 else f"{side}-{n}", (self._memory(host)[1] - before[host]) / n, "kB per idle connection", connections=n)
            client.stdin.close()

    def go_pair(self):
        yield from peers.go_pairs(self.world.state["build"], self.one_stream)

    def rtt_beside_bulk(self):
        """A round trip while a transfer takes what it can get."""
        ways = self.ways("beta", ECHO)

        def measure(way):
            ip, port = ways[way]
            bulk = self.world.spawn("alpha", PATH, "take-on", ip, str(port - ECHO + BULK), stdout=-1)
            try:
                if bulk.stdout.readline() != b"busy\n":
                    raise LabError("the transfer does not begin")
                return load(self.world, "alpha", "round-trip", *ways[way])
            finally:
                bulk.kill()
                bulk.wait()
        for way, (p50, p99) in in_turn(("pilot", "ssh -L"), measure).items():
            yield figure("rtt-beside-bulk-p50", p50, "us", way=way)
            yield figure("rtt-beside-bulk-p99", p99, "us", way=way)


# In this order: what leaves much memory behind comes late, and so does what starts daemons anew.
FIGURES = {"memory-idle": Bench.memory_idle, "idle-cpu": Bench.idle_cpu, "memory-after": Bench.memory_after, "rtt": Bench.rtt, "connect": Bench.connect, "memory-stream": Bench.memory_stream,
           "bulk-veth": Bench.bulk_veth, "rtt-beside-bulk": Bench.rtt_beside_bulk, "streams-8": lambda bench: bench.paths.eight(), "streams-8-peers": crowd.eight_peers,
           "bulk-loopback": Bench.bulk_loopback, "files": Bench.files, "segmentation-off": lambda bench: bench.paths.segmentation_off(),
           "wires": lambda bench: bench.paths.wires(), "cold-start": lambda bench: bench.paths.cold_start(),
           "beside-cubic": lambda bench: bench.paths.beside_cubic(), "queue-alone": lambda bench: bench.paths.queue_delay(),
           "idle-10000": Bench.idle_connections, "memory-mapping": crowd.mappings, "offload-off": lambda bench: bench.paths.offload_off(),
           "stock-buffers": lambda bench: bench.paths.stock_buffers(), "relay": lambda bench: relayed.stream(bench.paths),
           "relay-100-pairs": lambda bench: relayed.pairs(bench.paths), "go-pair": Bench.go_pair}
# These say themselves what the daemons run with.
OWN_CONFIGURATION = ("offload-off", "stock-buffers", "relay", "relay-100-pairs", "go-pair")
