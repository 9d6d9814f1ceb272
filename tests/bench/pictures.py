# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pictures of docs/performance.md, as SVG without any library: throughput over loss and over round trip, and the window of one stream over time."""

import math
import os
import subprocess
import time
from xml.sax.saxutils import escape

from labkit.namespace import LabError
from labkit.player import pilotctl
from load import PATH

LABELS = {"pilot": "Pilot", "tcp bbr": "kernel TCP, BBR", "tcp cubic": "kernel TCP, CUBIC", "tcp reno": "kernel TCP, Reno"}
# Told apart by those who do not see red and green alike, too; and by their marks.
COLOURS = {"pilot": "#d55e00", "tcp bbr": "#0072b2", "tcp cubic": "#009e73", "tcp reno": "#cc79a7", "window": "#d55e00", "in flight": "#0072b2"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 440, 72, 24, 76, 56


def nice_ticks(most, about=5):
    """Round numbers from 0 to `most` or a little more."""
    rough = (most or 1) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= rough * 0.999)
    return [step * n for n in range(math.ceil(most / step - 1e-9) + 1)]


def mark(number, x, y, colour):
    """A mark of its own for each line."""
    if number % 4 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    if number % 4 == 1:
        return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"/>'
    if number % 4 == 2:
        return f'<path d="M{x:.1f} {y - 4.5:.1f} l4.5 8 h-9 z" fill="{colour}"/>'
    return f'<path d="M{x:.1f} {y - 5:.1f} l5 5 l-5 5 l-5 -5 z" fill="{colour}"/>'


def svg(title, note, x_name, y_name, series, path, marks=True):
    """Lines of points: series is {name: [(x, y), …]}, y from 0."""
    points = [point for line in series.values() for point in line]
    if not points:
        raise LabError(f"nothing was measured for “{os.path.basename(path)}”")
    x_ticks, y_ticks = nice_ticks(max(x for x, _ in points), 8), nice_ticks(max(y for _, y in points))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(x, y):
        return LEFT + (right - LEFT) * x / x_ticks[-1], bottom - (bottom - TOP) * y / y_ticks[-1]

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#333">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', f'<text x="{LEFT}" y="26" font-size="17" font-weight="bold" fill="#111">{escape(title)}</text>']
    if note:
        out.append(f'<text x="{right}" y="26" text-anchor="end" font-size="11" fill="#777">{escape(note)}</text>')
    for tick in y_ticks:
        _, y = place(0, tick)
        out.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{"#888" if tick == 0 else "#e4e4e4"}"/>'
                   f'<text x="{LEFT - 8}" y="{y + 4.5:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        x, _ = place(tick, 0)
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}" stroke="#888"/>'
                   f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{tick:g}</text>')
    out.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_name)}</text>')
    out.append(f'<text transform="translate(18 {(bottom + TOP) / 2}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>')
    # The first line last, on top of the others.
    at = LEFT
    for number, (name, line) in reversed(list(enumerate(series.items()))):
        colour = COLOURS.get(name, "#555")
        placed = [place(*point) for point in line]
        out.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in placed)}" fill="none" stroke="{colour}" stroke-width="{2.5 if number == 0 else 2}" '
                   'stroke-linejoin="round"/>')
        out += [mark(number, x, y, colour) for x, y in placed] if marks else []
    for number, name in enumerate(series):
        colour, label = COLOURS.get(name, "#555"), LABELS.get(name, name)
        out.append(f'<line x1="{at}" x2="{at + 26}" y1="48" y2="48" stroke="{colour}" stroke-width="2.5"/>' + (mark(number, at + 13, 48, colour) if marks else "")
                   + f'<text x="{at + 33}" y="52.5">{escape(label)}</text>')
        at += 33 + 7.2 * len(label) + 26
    out.append("</svg>\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out))


def plot(paths, folder):
    """Makes the three pictures and yields the path of each when it is there."""
    os.makedirs(folder, exist_ok=True)
    try:
        for name, title, note, x_name, points in (
                ("loss", "Throughput over random loss", "400 Mbit/s, 30 ms, queue of 1.5 MB", "loss, %", [(loss, {"delay": 15, "loss": loss}) for loss in (0, 0.1, 0.5, 1, 2, 4)]),
                ("rtt", "Throughput over round trip", "400 Mbit/s, no loss, queue of one bandwidth-delay product", "round trip, ms",
                 [(2 * delay, {"delay": delay}) for delay in (1, 5, 15, 30, 50, 100)])):
            series = {}
            for x, settings in points:
                paths.set_wire(settings)
                # The start is left out, and with it what had come behind a hole before: it would be counted when the hole is filled.
                seconds, skip = (12, 7) if settings["delay"] > 30 else (5, 2)
                for way, value in paths.both(seconds, skip=skip).items():
                    series.setdefault(way, []).append((x, value))
            path = os.path.join(folder, f"throughput-{name}.svg")
            svg(title, note, x_name, "Mbit/s", series, path)
            yield path
        paths.set_wire({"delay": 15})
        path = os.path.join(folder, "window.svg")
        svg("Congestion window and bytes in flight", "one stream, 400 Mbit/s, 30 ms", "seconds", "kB", window_over_time(paths, 8), path, marks=False)
        yield path
    finally:
        paths.clear_wire()


def window_over_time(paths, seconds):
    """What the sending daemon says about its busiest stream, ten times a second and more."""
    ip, port = paths.bench.ways("beta", paths.port)["pilot"]
    series = {"window": [], "in flight": []}
    started = time.monotonic()
    with paths.world.spawn("alpha", PATH, "take", ip, str(port), str(seconds), "1", "-", stdout=subprocess.DEVNULL):
        while (now := time.monotonic() - started) < seconds - 0.5:
            streams = pilotctl(paths.world, "beta", "connections").get("connections", [])
            if streams:
                busiest = max(streams, key=lambda stream: stream.get("cong_win", 0))
                series["window"].append((now, busiest.get("cong_win", 0) / 1000))
                series["in flight"].append((now, busiest.get("in_flight", 0) / 1000))
            time.sleep(0.05)
    if not series["window"]:
        raise LabError("no connection was seen while it was measured")
    return series
