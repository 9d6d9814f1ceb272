# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of docs/performance.md from the lines of `tools/bench --json`: what was to be reached, what was measured, and whether it was."""

import json
import os

PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "docs", "performance.md")
BEGIN, END = "<!-- tools/bench --table -->", "<!-- end of the table -->"
BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "baseline.json")


def at_least(least, of="ratio"):
    return lambda line: line[of] >= least


def at_most(most, of="ratio"):
    return lambda line: line[of] <= most


def between(least, most, of="value"):
    return lambda line: least <= line[of] <= most


def both(*tests):
    return lambda line: all(test(line) for test in tests)


def row(what, aim, name, against, test, **more):
    """A row that is filled by the line of this name and of this other side; `more` are further fields the line must have."""
    return what, aim, {"name": name, "against": against, **more}, test


def bbr(what, name, least, shown=None):
    return row(what, shown or f"≥ {least} × kernel BBR", name, "tcp bbr", at_least(least))


def simulated(what, name):
    return row(f"simulated: {what}", "within 15 %", name, "the simulator", both(at_least(1 / 1.15), at_most(1.15)))


ROWS = (
    row("one stream, veth with MTU 1500", "≥ 1.2 × `ssh -L`, aim 1.7 ×", "bulk-veth", "ssh -L", at_least(1.2)),
    row("the same through two switches and two routers", "(≥ 1.2 × `ssh -L`)", "bulk-routed", "ssh -L", at_least(1.2)),
    row("one stream, veth, beside two Go peers", "≥ 20 × Go pair", "bulk-veth", "Go pair", at_least(20)),
    row("one stream, loopback", "≥ 1.5 × `ssh -L`, aim 2 ×", "bulk-loopback", "ssh -L", at_least(1.5)),
    row("a file of 100 kB, veth", "(no slower than `ssh -L`)", "file-100kB-veth", "ssh -L", at_most(1)),
    row("a file of 1 MB, veth", "(no slower than `ssh -L`)", "file-1MB-veth", "ssh -L", at_most(1)),
    row("a file of 10 MB, veth", "(no slower than `ssh -L`)", "file-10MB-veth", "ssh -L", at_most(1)),
    row("a file of 100 kB, loopback", "(no slower than `ssh -L`)", "file-100kB-loopback", "ssh -L", at_most(1)),
    row("a file of 1 MB, loopback", "(no slower than `ssh -L`)", "file-1MB-loopback", "ssh -L", at_most(1)),
    row("a file of 10 MB, loopback", "(no slower than `ssh -L`)", "file-10MB-loopback", "ssh -L", at_most(1)),
    row("veth, `tx-udp-segmentation off`, `gro on`", "≥ 0.7 × `ssh -L`", "bulk-segmentation-off", "ssh -L", at_least(0.7)),
    row("the same with `rx-udp-gro-forwarding on`, joined again on arrival as by a card", "≥ 0.7 × `ssh -L`", "bulk-segmentation-off-joined", "ssh -L", at_least(0.7)),
    row("veth, `tx-udp-segmentation off`, through two switches and two routers", "(≥ 0.7 × `ssh -L`)", "routed-segmentation-off", "ssh -L", at_least(0.7)),
    row("veth, offload off in the daemon", "≥ 0.2 × `ssh -L`", "bulk-offload-off", "ssh -L", at_least(0.2)),
    row("8 streams to 8 peers", "≥ 0.9 × one stream, fairness ≥ 0.95", "streams-8-peers", "one stream", both(at_least(0.9), at_least(0.95, "fairness"))),
    row("8 streams to one peer", "≥ 0.9 × one stream, fairness ≥ 0.95", "streams-8", "one stream", both(at_least(0.9), at_least(0.95, "fairness"))),
    row("to a Go peer, LAN", "≥ 0.9 × Go pair", "to-go-lan", "Go pair", at_least(0.9)),
    row("from a Go peer, LAN", "≥ 0.9 × Go pair", "from-go-lan", "Go pair", at_least(0.9)),
    row("to a Go peer, 30 ms", "≥ 0.9 × Go pair", "to-go-30-ms", "Go pair", at_least(0.9)),
    row("from a Go peer, 30 ms", "≥ 0.9 × Go pair", "from-go-30-ms", "Go pair", at_least(0.9)),
    row("to a Go peer, LAN, 2 % loss", "≥ 1 × Go pair", "to-go-lan-2-loss", "Go pair", at_least(1)),
    row("from a Go peer, LAN, 2 % loss", "≥ 1 × Go pair", "from-go-lan-2-loss", "Go pair", at_least(1)),
    row("to a Go peer, 30 ms, 2 % loss", "≥ 1 × Go pair", "to-go-30-ms-2-loss", "Go pair", at_least(1)),
    row("from a Go peer, 30 ms, 2 % loss", "≥ 1 × Go pair", "from-go-30-ms-2-loss", "Go pair", at_least(1)),
    bbr("400 Mbit/s, 30 ms", "wire-30ms", 0.95),
    bbr("400 Mbit/s, 30 ms, 0.5 % loss", "wire-30ms-loss-0.5", 0.95),
    bbr("400 Mbit/s, 30 ms, 2 % loss", "wire-30ms-loss-2", 0.95),
    bbr("400 Mbit/s, 100 ms, 20 s", "wire-100ms", 0.95),
    row("10 MB from a cold start, 30 ms", "no slower than kernel BBR", "file-10MB-30ms", "tcp bbr", at_most(1)),
    row("10 MB from a cold start, 100 ms", "no slower than kernel BBR", "file-10MB-100ms", "tcp bbr", at_most(1)),
    bbr("bursts of 8, 1 % loss", "wire-30ms-bursts-1", 0.9),
    bbr("5 % of the packets late", "wire-30ms-late-5", 0.9),
    bbr("jitter of 5 ms", "wire-30ms-jitter-5ms", 0.9),
    row("beside kernel CUBIC, queue of 0.5 BDP", "25-75 % of both", "beside-cubic-0.5bdp", None, between(0.25, 0.75)),
    row("beside kernel CUBIC, queue of 1 BDP", "25-75 % of both", "beside-cubic-1bdp", None, between(0.25, 0.75)),
    row("beside kernel CUBIC, queue of 4 BDP", "25-75 % of both", "beside-cubic-4bdp", None, between(0.25, 0.75)),
    row("round trip beside our stream alone", "≤ 1.5 × the empty one", "queue-alone", "the empty round trip", at_most(1.5)),
    row("64-byte round trip, p50", "≤ 0.9 × `ssh -L`", "rtt", "ssh -L", at_most(0.9)),
    row("64-byte round trip, p99", "≤ 0.9 × `ssh -L`", "rtt-p99", "ssh -L", at_most(0.9)),
    row("the same beside a bulk stream, p99", "≤ 2 ms", "rtt-beside-bulk-p99", None, at_most(2000, "value"), way="pilot"),
    row("new connections, 1 worker", "≥ 1 × `ssh -L`", "connect-1", "ssh -L", at_least(1)),
    row("new connections, 32 workers", "≥ 1.2 × `ssh -L`", "connect-32", "ssh -L", at_least(1.2)),
    row("500 connections at once", "no failure", "connect-500-failed", None, at_most(0, "value")),
    row("60 connections at once to a Go peer", "no failure", "go-burst-failed", None, at_most(0, "value")),
    row("resident memory, idle", "≤ 14 MB", "memory-idle-resident", None, at_most(14 * 1024, "value")),
    row("private dirty memory, idle", "≤ 4 MB", "memory-idle", None, at_most(4 * 1024, "value")),
    row("the same after a transfer", "(≤ 4 MB)", "memory-after", None, at_most(4 * 1024, "value")),
    row("memory of an idle stream, connecting side", "≤ 16 kB", "memory-stream", None, at_most(16, "value")),
    row("memory of an idle stream, accepting side", "≤ 16 kB", "memory-stream-inbound", None, at_most(16, "value")),
    row("the same with 10 000, connecting side", "≤ 16 kB", "memory-stream-10000", None, at_most(16, "value")),
    row("the same with 10 000, accepting side", "≤ 16 kB", "memory-stream-inbound-10000", None, at_most(16, "value")),
    row("memory of an idle mapping, daemon and helper", "≤ 30 kB", "memory-mapping", None, at_most(30, "value")),
    row("processor time, idle", "< 0.1 %", "idle-cpu", None, lambda line: line["value"] < 0.1),
    row("wake-ups, idle", "≤ 1 a second", "idle-wakeups", None, at_most(1, "value")),
    row("one stream through the beacon", "≥ 0.7 × direct", "bulk-relay", "direct", at_least(0.7)),
    row("the same on 400 Mbit/s", "≥ 0.7 × direct", "wire-relay", "direct", at_least(0.7)),
    row("100 pairs through one beacon", "fairness ≥ 0.95", "relay-100-pairs", None, at_least(0.95, "fairness")),
    row("stock socket buffers: one stream, veth", "(≥ 1.2 × `ssh -L`)", "stock-bulk-veth", "ssh -L", at_least(1.2)),
    bbr("stock socket buffers: 400 Mbit/s, 30 ms", "stock-wire-30ms", 0.95, "(≥ 0.95 × kernel BBR)"),
    bbr("stock socket buffers: the same, 2 % loss", "stock-wire-30ms-loss-2", 0.95, "(≥ 0.95 × kernel BBR)"),
    simulated("400 Mbit/s, 30 ms", "wire-30ms"),
    simulated("the same, 0.5 % loss", "wire-30ms-loss-0.5"),
    simulated("the same, 2 % loss", "wire-30ms-loss-2"),
    simulated("the same, bursts of 8, 1 % loss", "wire-30ms-bursts-1"),
    simulated("the same, 5 % of the packets late", "wire-30ms-late-5"),
    simulated("the same, jitter of 5 ms", "wire-30ms-jitter-5ms"),
    simulated("400 Mbit/s, 100 ms", "wire-100ms"),
    simulated("10 MB from a cold start, 30 ms", "file-10MB-30ms"),
    simulated("10 MB from a cold start, 100 ms", "file-10MB-100ms"),
    simulated("share beside CUBIC, queue of 0.5 BDP", "beside-cubic-0.5bdp"),
    simulated("share beside CUBIC, queue of 1 BDP", "beside-cubic-1bdp"),
    simulated("share beside CUBIC, queue of 4 BDP", "beside-cubic-4bdp"),
)


def read_lines(path):
    """The objects of a file, one a line; ValueError says which line is none."""
    with open(0 if path == "-" else path, encoding="utf-8") as file:
        lines = []
        for number, text in enumerate(file, 1):
            try:
                line = json.loads(text)
                if "name" not in line:
                    raise ValueError("it has no name")
            except (ValueError, TypeError) as error:
                raise ValueError(f"line {number} of “{path}” is none of tools/bench --json: {error}") from None
            lines.append(line)
    return lines


def _find(lines, wanted):
    """The last line that is meant: one run after the other may have been written to the file."""
    found = [line for line in lines if "error" not in line and all(line.get(key) == value for key, value in wanted.items())]
    return found[-1] if found else None


def _number(value):
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _measured(line):
    if line.get("ratio") is not None:
        text = f"{line['ratio']:.2f} × ({_number(line['value'])} : {_number(line['against_value'])} {line['unit']})"
    elif line["unit"] == "of both":
        text = f"{line['value']:.2f} ({_number(line['ours'])} : {_number(line['theirs'])} Mbit/s)"
    else:
        text = f"{_number(line['value'])} {line['unit']}"
    return text + (f", fairness {line['fairness']:.3f}" if "fairness" in line else "")


def table_text(lines):
    out = ["| figure | must reach | measured | |", "|---|---|---|---|"]
    for what, aim, wanted, test in ROWS:
        line = _find(lines, wanted)
        if line is None:
            out.append(f"| {what} | {aim} | not measured | |")
        else:
            out.append(f"| {what} | {aim} | {_measured(line)} | {'reached' if test(line) else '**short**'} |")
    with open(BASELINE, encoding="utf-8") as file:
        per_megabyte = json.load(file)["per megabyte, lossless"]
    out.append(f"| instructions of the engine, a megabyte | within 10 % of the baseline | {per_megabyte / 1e6:.2f} million | CI fails else |")
    # One sentence for each run that was written to the file.
    for run in (line for line in lines if line["name"] == "run"):
        out += ["", f"Measured on {run['date']} in one run of {run['value']:.0f} s of {run['revision']} ({run['buildtype']}), {run['cores']} cores, Linux {run['kernel']}, load "
                f"{run['load_before']:.1f} before and {run['load_after']:.1f} at the end" + (f", with {run['settings']}" if run.get("settings") else "") + "."]
    errors = {line["name"]: line["error"] for line in lines if "error" in line and not any(other["name"] == line["name"] and "error" not in other for other in lines)}
    out += ["", *(f"- {name}: {error}" for name, error in errors.items())] if errors else []
    return "\n".join(out) + "\n"


def write(text):
    """Puts the table between its marks in docs/performance.md."""
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    if BEGIN not in page or END not in page:
        raise ValueError(f"“{PAGE}” lacks the marks “{BEGIN}” and “{END}”")
    with open(PAGE + ".new", "w", encoding="utf-8") as file:
        file.write(page.split(BEGIN)[0] + BEGIN + "\n\n" + text + "\n" + END + page.split(END, 1)[1])
    os.replace(PAGE + ".new", PAGE)
