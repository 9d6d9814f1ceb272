# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures of tools/bench across distance, loss and limits, beside kernel TCP with the congestion controls that count."""

import itertools
import json
import os
import shutil
import statistics
import subprocess
import time

from labkit.namespace import LabError
from labkit.player import address, gateway_start, pilotctl
from labkit.world import wait_until
from load import PATH, load
from turns import in_turn

# Reads for some seconds and leaves out the first: bytes a second of the rest, in Mbit/s. What stands behind a hole when the counting begins comes all at once a little
# later, though it crossed the line before: so it begins and ends not at a moment, but in the mean of a tenth of the time.
FILE_CLIENT = r"""
import socket, sys, time
started = time.monotonic(); s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20); s.settimeout(60)
n = int(sys.argv[3]); s.sendall(f"{n} {sys.argv[4]}\n".encode()); got = 0; buffer = bytearray(1 << 20)
while got < n:
    k = s.recv_into(buffer)
    if k == 0: sys.exit("cut short")
    got += k
print(time.monotonic() - started)
"""

# The median round trip, in ms, of so many bytes sent one after another over TCP, which waits in the same queues as everything.
PROBE_CLIENT = r"""
import socket, statistics, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20); s.settimeout(20); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); times = []
for _ in range(int(sys.argv[3])):
    t = time.monotonic(); s.sendall(b"x"); s.recv(1); times.append(time.monotonic() - t); time.sleep(0.02)
print(1000 * statistics.median(times))
"""

# What kernel TCP is asked for beside us, where the kernel has it: the model-based one, and the default of most systems.
KINDS = ("bbr", "cubic")
WINDOWS, WINDOW = ("/proc/sys/net/ipv4/tcp_rmem", "/proc/sys/net/ipv4/tcp_wmem"), 64 << 20
# The socket buffers a kernel gives with its usual limit.
STOCK_BUFFER = 212992

# name, the wire (400 Mbit/s each), seconds, how many of them do not count, how often in turn. The starts of kernel TCP overflow the queue, and for a second and more
# everything waits for what was lost then.
WIRES = (
    ("wire-30ms", {"delay": 15}, 4, 2, 3),
    ("wire-30ms-loss-0.5", {"delay": 15, "loss": 0.5}, 4, 2, 3),
    ("wire-30ms-loss-2", {"delay": 15, "loss": 2}, 4, 2, 3),
    ("wire-30ms-bursts-1", {"delay": 15, "loss": 1, "burst": 8}, 4, 2, 3),
    ("wire-30ms-late-5", {"delay": 15, "reorder": 5}, 4, 2, 3),
    ("wire-30ms-jitter-5ms", {"delay": 15, "jitter": 5}, 4, 2, 3),
    ("wire-100ms", {"delay": 50}, 20, 5, 1),
)
# What hosts that share two cores put into the times of packets, in ms.
HOST_JITTER = 0.5
RATE, OFF = 400, {"delay": 0, "jitter": 0, "loss": 0, "burst": 1, "reorder": 0, "rate": 0}


def figure(name, value, unit, against, against_value, **more):
    ratio = round(value / against_value, 3) if against_value else None
    return {"name": name, "value": round(value, 3), "unit": unit, "against": against, "ratio": ratio,
            "against_value": round(against_value, 3), **more}


def whole(settings):
    """All settings of a wire: 400 Mbit/s and a queue of one bandwidth-delay product, at least 256 kB, unless they say other."""
    queue = max(256, RATE * 1000 / 8 * 2 * settings.get("delay", 0) / 1000)
    return {**OFF, "rate": RATE, "queue": round(queue), "seed": 7, **settings}


def fairness(values):
    """Jain's index: 1 when all have the same, 1 / n when one has all."""
    return round(sum(values) ** 2 / (len(values) * sum(value * value for value in values)), 3)


class Paths:
    """What the Bench of figures.py has, seen through wires."""

    def __init__(self, bench, bulk_port):
        self.bench, self.world, self.port = bench, bench.world, bulk_port
        # Settings of transport-udp that every figure has, and what the daemons run with now.
        self.basic, self.configuration = {}, ((), ())
        self.windows = None  # of kernel TCP, as they were before a wire was set

    # --- measuring --------------------------------------------------------------------------------------------------------------------

    def kinds(self):
        """Those of KINDS that the kernel has; their modules are loaded if they are there."""
        modprobe = shutil.which("modprobe", path="/usr/sbin:/sbin:/usr/bin")
        for module in ("tcp_bbr", "tcp_cubic") if modprobe else ():
            subprocess.run([modprobe, "-q", module], check=False, stderr=subprocess.DEVNULL)
        there = self.world.run("beta", "cat", "/proc/sys/net/ipv4/tcp_available_congestion_control", user="root").stdout.split()
        return [kind for kind in KINDS if kind in there]

    def timed(self, ip, port, seconds, kind="-", skip=1.0):
        return load(self.world, "alpha", "take", ip, port, seconds, skip, kind, timeout=seconds + 60)[0]

    def simulated(self, settings, **more):
        """What the simulator says of this wire: Mbit/s of ours (and of the flow beside it), or the seconds of a file."""
        program = os.path.join(self.world.state["build"], "tests", "sim", "simulate-line")
        wire = whole(settings)
        wire["jitter"] = max(wire["jitter"], HOST_JITTER)
        words = [f"{name}={value}" for name, value in {**wire, **more}.items()]
        return [float(word) for word in subprocess.run([program, *words], stdout=subprocess.PIPE, check=True, timeout=60).stdout.split()]

    def both(self, seconds, skip=1.0, times=1):
        """Mbit/s through Pilot and through TCP of each kind: of Pilot and the first kind, which counts, the medians of so many runs in turn."""
        where = self.bench.ways("beta", self.port)
        ways = {"pilot": (where["pilot"], "-"), **{f"tcp {kind}": (where["tcp"], kind) for kind in self.kinds()}}

        def measure(way):
            target, kind = ways[way]
            return [self.timed(*target, seconds, kind, skip)]
        names = list(ways)
        return {way: speeds[0] for way, speeds in {**in_turn(names[:2], measure, times), **in_turn(names[2:], measure, 1)}.items()}

    def set_wire(self, settings):
        self.world.wire("beta", whole(settings))
        if self.windows is None:
            # What kernel TCP may have under way covers every path here; as most systems set it, 100 ms would be too long for it.
            self.windows = {name: self.world.run("beta", "cat", name, user="root").stdout.split() for name in WINDOWS}
            self._set_windows({name: [*usual[:2], str(WINDOW)] for name, usual in self.windows.items()})

    def clear_wire(self):
        self.world.wire("beta", {}, clear=True)
        if self.windows is not None:
            self._set_windows(self.windows)
            self.windows = None

    def _set_windows(self, windows):
        for host in ("alpha", "beta"):
            for name, values in windows.items():
                self.world.run(host, "sh", "-c", 'echo "$1" >"$2"', "sh", " ".join(values), name, user="root")

    # --- figures ----------------------------------------------------------------------------------------------------------------------

    def wires(self, wires=WIRES, prefix=""):
        try:
            for name, settings, seconds, skip, times in wires:
                self.set_wire(settings)
                speeds = self.both(seconds, skip, times)
                for against, value in speeds.items():
                    if against != "pilot":
                        yield figure(prefix + name, speeds["pilot"], "Mbit/s", against, value)
                if not prefix:
                    yield figure(name, speeds["pilot"], "Mbit/s", "the simulator", *self.simulated(settings, seconds=seconds, skip=skip))
        finally:
            self.clear_wire()

    def cold_start(self):
        """A file over a connection of its own, in turn with kernel TCP: the median of five each."""
        try:
            for delay in (15, 50):
                settings = {"delay": delay}
                self.set_wire(settings)
                ways = self.bench.ways("beta", self.port)
                took = {kind: [] for kind in ("-", *self.kinds())}
                for _ in range(5):
                    for kind, times in took.items():
                        ip, port = ways["pilot" if kind == "-" else "tcp"]
                        times.append(float(self.world.run("alpha", "python3", "-c", FILE_CLIENT, ip, str(port), "10000000", kind).stdout))
                ours, *others = map(statistics.median, took.values())
                for kind, theirs in zip(self.kinds(), others):
                    yield figure(f"file-10MB-{2 * delay}ms", ours, "s", f"tcp {kind}", theirs)
                yield figure(f"file-10MB-{2 * delay}ms", ours, "s", "the simulator", *self.simulated(settings, seconds=20, bytes=10000000))
        finally:
            self.clear_wire()

    def eight(self):
        """Eight connections at once through one tunnel: their sum beside one alone, and Jain's index of fairness."""
        ip, port = self.bench.ways("beta", self.port)["pilot"]
        yield self.beside_one("streams-8", [ip] * 8, port)

    def beside_one(self, name, ips, port):
        """As many streams at the same time as addresses, beside one alone, nine times in turn: their sum, and the median of the indices of fairness."""
        alone, together = itertools.cycle(ips), []

        def one():
            return [self.timed(next(alone), port, 3)]

        def all_of_them():
            clients = [self.world.spawn("alpha", PATH, "take", ip, str(port), "5", "1.5", "-", stdout=subprocess.PIPE) for ip in ips]
            together.append([float(client.communicate(timeout=90)[0]) for client in clients])
            return [sum(together[-1])]
        speeds = in_turn((one, all_of_them), lambda way: way(), times=9)
        return figure(name, speeds[all_of_them][0], "Mbit/s", "one stream", speeds[one][0], fairness=round(statistics.median(map(fairness, together)), 3))

    def configure(self, *arguments, **settings):
        """Both daemons run with these arguments and settings of transport-udp; they are started anew, and the gateway, only if they do not."""
        wanted = (arguments, tuple(sorted({**self.basic, **settings}.items())))
        if wanted == self.configuration:
            return
        self.configuration = None
        for host in ("alpha", "beta"):
            if self.world.info(host) is not None:
                pilotctl(self.world, host, "daemon", "stop")
            text = self.world.run(host, "sh", "-c", "cat .pilot/config.json 2>/dev/null || echo {}").stdout
            document = json.loads(text)
            document["plugin-settings"] = {"transport-udp": dict(wanted[1])}
            self.world.run(host, "sh", "-c", "umask 077 && cat >.pilot/config.json", stdin=json.dumps(document))
            self.world.start_daemon(host, *arguments)
        gateway_start(self.world, address(2))
        ip, port = self.bench.ways("beta", self.port)["pilot"]
        wait_until(lambda: self.world.run("alpha", "python3", "-c", FILE_CLIENT, ip, str(port), "1000", "-", check=False).returncode == 0, 30,
                   "a connection after the restart")
        self.configuration = wanted

    def _beside_ssh(self, name, **more):
        ways = self.bench.ways("beta", self.port)
        speeds = in_turn(("pilot", "ssh -L"), lambda way: [self.timed(*ways[way], 2, skip=0.5)])
        return figure(name, speeds["pilot"][0], "Mbit/s", "ssh -L", speeds["ssh -L"][0], **more)

    def offload_off(self):
        self.configure(offload="off")
        yield self._beside_ssh("bulk-offload-off")

    def stock_buffers(self):
        """With the socket buffers that a system gives whose limit nobody has lifted."""
        self.configure(buffer=str(STOCK_BUFFER))
        yield self._beside_ssh("stock-bulk-veth")
        yield from self.wires([wire for wire in WIRES if wire[0] in ("wire-30ms", "wire-30ms-loss-2")], prefix="stock-")

    def segmentation_off(self):
        """As through a real card without UDP segmentation: the kernel cuts before the cable. A real card's segments are joined again on arrival (GRO); a veth
        does that to what was sent on the same machine only with rx-udp-gro-forwarding, so it is measured without and with it."""
        def ethtool(device, *features):
            if shutil.which("ethtool", path="/usr/sbin:/sbin:/usr/bin") is None:
                raise LabError("install ethtool")
            for host in ("alpha", "beta"):
                self.world.run(host, "ethtool", "-K", device, *features, user="root")
        with self.bench.cable():
            ethtool("cable0", "tx-udp-segmentation", "off", "gro", "on")
            yield self._beside_ssh("bulk-segmentation-off")
            ethtool("cable0", "rx-udp-gro-forwarding", "on")
            yield self._beside_ssh("bulk-segmentation-off-joined")
        try:
            ethtool("eth0", "tx-udp-segmentation", "off", "gro", "on")
            yield self._beside_ssh("routed-segmentation-off")
        finally:
            ethtool("eth0", "tx-udp-segmentation", "on", "gro", "off")

    def beside_cubic(self):
        """One stream beside one kernel CUBIC flow on one drop-tail bottleneck, with queues of 0.5, 1 and 4 bandwidth-delay products: our share of what both
        got in two runs. CUBIC takes five seconds and more from one loss to the next, so that a run must have several of these to be worth anything."""
        rate, delay, seconds, skip = 50, 15, 24, 4
        ways = self.bench.ways("beta", self.port)

        def once():
            clients = [self.world.spawn("alpha", PATH, "take", ways[way][0], str(ways[way][1]), str(seconds), str(skip), kind,
                                        stdout=subprocess.PIPE) for way, kind in (("tcp", "cubic"), ("pilot", "-"))]
            return [float(client.communicate(timeout=seconds + 60)[0]) for client in clients]
        try:
            for products in (0.5, 1, 4):
                settings = {"delay": delay, "rate": rate, "queue": round(products * rate * 1000 / 8 * 2 * delay / 1000)}
                self.set_wire(settings)
                theirs, ours = (statistics.mean(speeds) for speeds in zip(once(), once()))
                # Who comes a little later meets another queue, and every jitter is another: there the median of many costs nothing.
                runs = [self.simulated(settings, beside="cubic", seconds=seconds, skip=skip, start=10 * i, seed=i) for i in range(1, 16)]
                share, simulated = ours / (ours + theirs), statistics.median(mine / (mine + other) for mine, other in runs)
                name = f"beside-cubic-{products:g}bdp"
                yield {"name": name, "value": round(share, 3), "unit": "of both", "against": None, "ratio": None, "ours": round(ours, 1), "theirs": round(theirs, 1)}
                yield figure(name, share, "of both", "the simulator", simulated)
        finally:
            self.clear_wire()

    def queue_delay(self):
        """What a stream of ours that is alone on 400 Mbit/s, 30 ms and a queue of one bandwidth-delay product makes of the round trip."""
        target, seconds = self.bench.direct("beta"), 8
        ip, port = self.bench.ways("beta", self.port)["pilot"]

        def median(count):
            return float(self.world.run("alpha", "python3", "-c", PROBE_CLIENT, target, str(self.port + 1), str(count)).stdout)
        try:
            self.set_wire({"delay": 15})
            empty = median(20)
            with self.world.spawn("alpha", PATH, "take", ip, str(port), str(seconds), "1", "-", stdout=subprocess.DEVNULL):
                time.sleep(2)  # the start, whose queue is another matter
                loaded = median(100)
            yield figure("queue-alone", loaded, "ms", "the empty round trip", empty)
        finally:
            self.clear_wire()
