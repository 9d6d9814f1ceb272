# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures of tools/bench across distance, loss and limits, beside kernel TCP with each congestion control it has; and the pictures of them."""

import json
import math
import os
import shutil
import statistics
import subprocess
import time

from labkit.namespace import LabError
from labkit.player import address, gateway_start, pilotctl
from labkit.world import wait_until

# Reads for some seconds and leaves out the first: bytes a second of the rest, in Mbit/s.
TIMED_CLIENT = r"""
import socket, sys, time
ip, port, seconds, skip, kind = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
s = socket.create_connection((ip, port), 20); s.settimeout(20)
s.sendall(f"1000000000000 {kind}\n".encode()); buffer = bytearray(1 << 20); started = time.monotonic(); got = 0; counted = None
while (now := time.monotonic() - started) < seconds:
    if counted is None and now >= skip: counted, since = 0, now
    k = s.recv_into(buffer)
    if k == 0: sys.exit("the connection ended")
    if counted is not None: counted += k
if counted is None: sys.exit("nothing came")
print(counted * 8e-6 / (time.monotonic() - started - since))
"""

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

# name, the wire (400 Mbit/s each), seconds
WIRES = (
    ("wire-30ms", {"delay": 15}, 6),
    ("wire-30ms-loss-0.5", {"delay": 15, "loss": 0.5}, 6),
    ("wire-30ms-loss-2", {"delay": 15, "loss": 2}, 6),
    ("wire-30ms-bursts-1", {"delay": 15, "loss": 1, "burst": 8}, 6),
    ("wire-30ms-late-5", {"delay": 15, "reorder": 5}, 6),
    ("wire-30ms-jitter-5ms", {"delay": 15, "jitter": 5}, 6),
    ("wire-100ms", {"delay": 50}, 12),
)
RATE, OFF = 400, {"delay": 0, "jitter": 0, "loss": 0, "burst": 1, "reorder": 0, "rate": 0}


def figure(name, value, unit, against, against_value, **more):
    ratio = round(value / against_value, 3) if against_value else None
    return {"name": name, "value": round(value, 3), "unit": unit, "against": against, "ratio": ratio,
            "against_value": round(against_value, 3), **more}


class Paths:
    """What the Bench of figures.py has, seen through wires."""

    def __init__(self, bench, bulk_port):
        self.bench, self.world, self.port = bench, bench.world, bulk_port

    # --- measuring --------------------------------------------------------------------------------------------------------------------

    def kinds(self):
        """The congestion controls the kernel has; the modules of more are loaded if they are there."""
        modprobe = shutil.which("modprobe", path="/usr/sbin:/sbin:/usr/bin")
        for module in ("tcp_bbr", "tcp_cubic") if modprobe else ():
            subprocess.run([modprobe, "-q", module], check=False, stderr=subprocess.DEVNULL)
        return self.world.run("beta", "cat", "/proc/sys/net/ipv4/tcp_available_congestion_control", user="root").stdout.split()

    def timed(self, ip, port, seconds, kind="-", skip=1.0):
        done = self.world.run("alpha", "python3", "-c", TIMED_CLIENT, ip, str(port), str(seconds), str(skip), kind, timeout=seconds + 60)
        return float(done.stdout)

    def both(self, seconds, skip=1.0):
        """Mbit/s through Pilot and through TCP of each kind."""
        ways = self.bench.ways("beta", self.port)
        speeds = {"pilot": self.timed(*ways["pilot"], seconds, skip=skip)}
        for kind in self.kinds():
            speeds[f"tcp {kind}"] = self.timed(*ways["tcp"], seconds, kind, skip)
        return speeds

    def set_wire(self, settings):
        # A queue of one bandwidth-delay product, at least 256 kB.
        queue = max(256, RATE * 1000 / 8 * 2 * settings.get("delay", 0) / 1000)
        self.world.wire("beta", {**OFF, "rate": RATE, "queue": round(queue), "seed": 7, **settings})

    def clear_wire(self):
        self.world.wire("beta", {}, clear=True)

    # --- figures ----------------------------------------------------------------------------------------------------------------------

    def wires(self):
        try:
            for name, settings, seconds in WIRES:
                self.set_wire(settings)
                speeds = self.both(seconds, skip=seconds / 4)
                for against, value in speeds.items():
                    if against != "pilot":
                        yield figure(name, speeds["pilot"], "Mbit/s", against, value)
        finally:
            self.clear_wire()

    def cold_start(self):
        try:
            for delay in (15, 50):
                self.set_wire({"delay": delay})
                ways = self.bench.ways("beta", self.port)

                def median(way, kind):
                    return statistics.median(float(self.world.run("alpha", "python3", "-c", FILE_CLIENT, *map(str, ways[way]), "10000000", kind).stdout)
                                             for _ in range(3))
                took = median("pilot", "-")
                for kind in self.kinds():
                    yield figure(f"file-10MB-{2 * delay}ms", took, "s", f"tcp {kind}", median("tcp", kind))
        finally:
            self.clear_wire()

    def eight(self):
        """Eight connections at once through one tunnel: their sum beside one alone, and Jain's index of fairness."""
        ip, port = self.bench.ways("beta", self.port)["pilot"]
        alone = self.timed(ip, port, 5)
        clients = [self.world.spawn("alpha", "python3", "-c", TIMED_CLIENT, ip, str(port), "7", "1.5", "-", stdout=subprocess.PIPE) for _ in range(8)]
        speeds = [float(client.communicate(timeout=90)[0]) for client in clients]
        yield figure("streams-8", sum(speeds), "Mbit/s", "one stream", alone, fairness=round(sum(speeds) ** 2 / (8 * sum(v * v for v in speeds)), 3))

    def _restart(self, *arguments, settings=None):
        """Both daemons again, with another configuration, and the gateway."""
        for host in ("alpha", "beta"):
            pilotctl(self.world, host, "daemon", "stop")
            text = self.world.run(host, "sh", "-c", "cat .pilot/config.json 2>/dev/null || echo {}").stdout
            document = json.loads(text)
            document["plugin-settings"] = {"transport-udp": settings or {}}
            self.world.run(host, "sh", "-c", "umask 077 && cat >.pilot/config.json", stdin=json.dumps(document))
            self.world.start_daemon(host, *arguments)
        gateway_start(self.world, address(2))
        ip, port = self.bench.ways("beta", self.port)["pilot"]
        wait_until(lambda: self.world.run("alpha", "python3", "-c", FILE_CLIENT, ip, str(port), "1000", "-", check=False).returncode == 0, 30,
                   "a connection after the restart")

    def _beside_ssh(self, name, **more):
        ways = self.bench.ways("beta", self.port)
        speeds = {way: statistics.median(self.timed(*ways[way], 4) for _ in range(3)) for way in ("pilot", "ssh -L")}
        return figure(name, speeds["pilot"], "Mbit/s", "ssh -L", speeds["ssh -L"], **more)

    def offload_off(self):
        self._restart(settings={"offload": "off"})
        try:
            yield self._beside_ssh("bulk-offload-off")
        finally:
            self._restart()

    def segmentation_off(self):
        """As through a real card without UDP segmentation: the kernel cuts before the cable."""
        def ethtool(*features):
            for host in ("alpha", "beta"):
                device = self.world.run(host, "sh", "-c", "ip -o route get 192.0.2.1 | sed 's/.* dev \\([^ ]*\\).*/\\1/'").stdout.strip()
                self.world.run(host, "ethtool", "-K", device, *features, user="root")
        try:
            ethtool("tx-udp-segmentation", "off", "gro", "on")
        except LabError as error:
            raise LabError(f"{error}: install ethtool") from error
        try:
            yield self._beside_ssh("bulk-segmentation-off")
        finally:
            ethtool("tx-udp-segmentation", "on", "gro", "off")

    def relay(self):
        """Through the beacon beside the direct way, on the same wires."""
        ip, port = self.bench.ways("beta", self.port)["pilot"]
        direct = statistics.median(self.timed(ip, port, 4) for _ in range(3))
        self._restart("--relay-only")
        try:
            relayed = statistics.median(self.timed(ip, port, 4) for _ in range(3))
        finally:
            self._restart()
        yield figure("bulk-relay", relayed, "Mbit/s", "direct", direct)


# --- pictures -------------------------------------------------------------------------------------------------------------------------------

COLOURS = {"pilot": "#c0392b", "tcp bbr": "#2980b9", "tcp cubic": "#27ae60", "tcp reno": "#8e44ad"}


def svg(title, x_name, y_name, series, path, log_y=False):
    """Lines of points as one picture without any library: series is {name: [(x, y), …]}."""
    width, height, left, bottom, top, right = 720, 440, 70, 50, 40, 130
    points = [point for line in series.values() for point in line]
    x_most = max(x for x, _ in points) or 1
    y_most = max(y for _, y in points) or 1
    y_least = 1.0 if log_y else 0.0

    def place(x, y):
        share = math.log(max(y, y_least) / y_least) / math.log(max(y_most / y_least, 2)) if log_y else y / y_most
        return left + (width - left - right) * x / x_most, height - bottom - (height - bottom - top) * share

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>', f'<text x="{left}" y="24" font-size="15">{title}</text>']
    ticks = [10 ** n for n in range(0, int(math.log10(max(y_most, 1))) + 1)] if log_y else [y_most * n / 4 for n in range(5)]
    for tick in ticks:
        _, y = place(0, tick)
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/><text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for n in range(5):
        x, _ = place(x_most * n / 4, 0)
        out.append(f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{x_most * n / 4:g}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 12}" text-anchor="middle">{x_name}</text>')
    out.append(f'<text transform="translate(16 {(height - bottom + top) / 2}) rotate(-90)" text-anchor="middle">{y_name}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS.get(name, "#555")
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        out.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{width - right + 10}" y="{top + 18 * number + 10}" fill="{colour}">{name}</text>')
    out.append("</svg>\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out))


def plot(paths, folder):
    """Three pictures: throughput over loss, over round trip, and the window of one transfer over time. Answers their paths."""
    os.makedirs(folder, exist_ok=True)
    made = []
    try:
        for name, title, x_name, log_y, points in (
                ("loss", "400 Mbit/s, 30 ms, random loss", "loss, %", True, [(loss, {"delay": 15, "loss": loss}) for loss in (0, 0.1, 0.5, 1, 2, 4)]),
                ("rtt", "400 Mbit/s, no loss", "round trip, ms", False, [(2 * delay, {"delay": delay}) for delay in (1, 5, 15, 30, 50, 100)])):
            series = {}
            for x, settings in points:
                paths.set_wire(settings)
                for way, value in paths.both(5, skip=2).items():
                    series.setdefault(way, []).append((x, value))
            made.append(os.path.join(folder, f"throughput-{name}.svg"))
            svg(title, x_name, "Mbit/s", series, made[-1], log_y)
        paths.set_wire({"delay": 15})
        made.append(os.path.join(folder, "window.svg"))
        svg("Congestion window and bytes in flight, 400 Mbit/s, 30 ms", "s", "kB", window_over_time(paths, 8), made[-1])
    finally:
        paths.clear_wire()
    return made


def window_over_time(paths, seconds):
    ip, port = paths.bench.ways("beta", paths.port)["pilot"]
    series = {"window": [], "in flight": []}
    started = time.monotonic()
    with paths.world.spawn("alpha", "python3", "-c", TIMED_CLIENT, ip, str(port), str(seconds), "1", "-", stdout=subprocess.DEVNULL):
        while (now := time.monotonic() - started) < seconds - 0.5:
            streams = pilotctl(paths.world, "beta", "connections").get("connections", [])
            if streams:
                busiest = max(streams, key=lambda stream: stream.get("cong_win", 0))
                series["window"].append((now, busiest.get("cong_win", 0) / 1000))
                series["in flight"].append((now, busiest.get("in_flight", 0) / 1000))
            time.sleep(0.1)
    if not series["window"]:
        raise LabError("no connection was seen while it was measured")
    return series
