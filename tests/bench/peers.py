# SPDX-License-Identifier: LGPL-2.1-or-later
"""What streams to and from a Go peer reach, beside two Go peers on the same wire. The world and the ways are those of tools/interop --figures.

An echo is measured, for which Go has a bench of its own: one way the streams of its SDK for Python do not come to their end between two Go nodes on a LAN (docs/interop.md)."""

import importlib.util
import os
import re

from load import install, load

# Where losses count, one transfer says little: so many, of so many MiB.
MORE = {"LAN, 2 % loss": (3, 8), "30 ms, 2 % loss": (13, 2)}
BURST = 60
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop")


def _interop_figures():
    """tests/interop/figures.py under a name of its own: there is one in this folder too."""
    spec = importlib.util.spec_from_file_location("interop_figures", os.path.join(FOLDER, "figures.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def go_pairs(build, own_stream=None):
    """Yields a figure for each wire and direction, and what becomes of a burst of connections; `own_stream` is what one stream of ours reaches on the veth, in Mbit/s."""
    figures = _interop_figures().Figures(build)
    try:
        figures.start()
        for wire, _, rates in figures.measure(1, kinds=("echo",), timeout=60, more=MORE):
            name = "-".join(re.findall(r"\w+", wire.lower()))
            mbit = {way: None if rate is None else rate * 8 for way, rate in rates.items()}
            go = mbit["Go → Go"]
            if wire == "LAN" and own_stream and go:
                yield _figure("bulk-veth", own_stream, go)
            for way, label in (("ours → Go", "to-go"), ("Go → ours", "from-go")):
                if mbit[way] is None or go is None:
                    yield {"name": f"{label}-{name}", "error": f"{way if mbit[way] is None else 'Go → Go'}: did not come to its end"}
                else:
                    yield _figure(f"{label}-{name}", mbit[way], go)
        yield burst(figures)
    finally:
        figures.close()


def burst(figures):
    """As a browser opens them: 60 connections at once through the gateway to the echo of a Go peer, which refuses a peer that sends too many SYNs. How many fail."""
    world = figures.world
    world.wire("beta", {}, clear=True)
    install(world, "alpha")
    rate, failed = load(world, "alpha", "connect", figures.gateway["beta"], 7, BURST, 1, timeout=120)
    return {"name": "go-burst-failed", "value": failed, "unit": f"of {BURST}", "against": None, "ratio": None, "seconds": round(BURST / rate, 2)}


def _figure(name, value, go):
    return {"name": name, "value": round(value, 2), "unit": "Mbit/s", "against": "Go pair", "ratio": round(value / go, 3), "against_value": round(go, 2)}
