# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the time of both daemons goes in bulk, as a flame graph: what `perf` sampled, added up by call chain and drawn as SVG without any library."""

import collections
import os
import re
import shutil
import subprocess
import tempfile
from xml.sax.saxutils import escape, quoteattr

from labkit.namespace import LabError
from load import PATH

WIDTH, ROW, LEAST = 1200, 17, 0.6  # pixels; what would be narrower than LEAST is left out
HZ = 397


def daemons(world, hosts):
    """Process ids, as this system sees them, of the pilotd of each host."""
    found = {}
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/comm", encoding="utf-8") as file:
                if entry.isdigit() and file.read().strip() == "pilotd":
                    found[os.stat(f"/proc/{entry}/ns/net").st_ino] = entry
        except OSError:
            continue  # it ended meanwhile, or is no process
    try:
        return [found[os.stat(f"/proc/{world.namespace(host).pid}/ns/net").st_ino] for host in hosts]
    except KeyError:
        raise LabError("the daemons are not to be found among the processes") from None


def fold(text):
    """Samples for each call chain of (name, kind), outermost first, from what `perf script` prints: a header, the chain from the innermost on, an empty line."""
    chains, chain, name = collections.Counter(), [], None
    for line in text.splitlines() + [""]:
        if not line.strip():
            if name is not None:
                chains[((name, "ours"), *reversed(chain))] += 1
            chain, name = [], None
        elif not line[0].isspace():
            name = line.split()[0]
        else:
            frame = re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", line)
            if frame:
                symbol = re.sub(r"\+0x[0-9a-f]+$", "", frame[1])
                chain.append((symbol if symbol != "[unknown]" else f"[{os.path.basename(frame[2])}]", kind_of(frame[2])))
    return chains


def tree(chains):
    root = {"samples": 0, "below": {}}
    for chain, samples in chains.items():
        node = root
        node["samples"] += samples
        for name in chain:
            node = node["below"].setdefault(name, {"samples": 0, "below": {}})
            node["samples"] += samples
    return root


HUES = {"kernel": 210, "cryptography": 5, "ours": 120, "other": 45}


def kind_of(library):
    """Whose code it is, by the file it is in."""
    name = os.path.basename(library)
    if name.startswith("[kernel") or name.endswith((".ko", ".ko.xz")):
        return "kernel"
    if name.startswith(("libgnutls", "libnettle", "libhogweed", "libcrypto", "libIPSec_MB")):
        return "cryptography"
    return "ours" if name.startswith(("pilot", "libpilot", "transport-", "trust-", "allocator-")) else "other"


def colour(name, kind):
    """A shade of its own for each name."""
    return f"hsl({HUES[kind] + sum(name.encode()) % 16},{62 + sum(name.encode()) % 17}%,{66 + sum(name.encode()) % 9}%)"


def svg(chains, title, path):
    root = tree(chains)
    if not root["samples"]:
        raise LabError("perf took no samples of the daemons")
    boxes, scale = [], (WIDTH - 20) / root["samples"]

    def place(node, x, depth):
        for (name, kind), child in sorted(node["below"].items()):
            width = child["samples"] * scale
            if width >= LEAST:
                boxes.append((x, depth, width, name, child["samples"], kind))
                place(child, x, depth + 1)
            x += width

    place(root, 10, 0)
    height = 70 + ROW * (1 + max(depth for _, depth, *_ in boxes))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="Helvetica, Arial, sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>', f'<text x="10" y="24" font-size="16" font-weight="bold" fill="#111">{escape(title)}</text>',
           f'<text x="10" y="42" fill="#666">{root["samples"]} samples by perf, {HZ} a second of processor time; width is the share of it, callers below. '
           'Blue: kernel, red: cryptography, green: Pilot, yellow: other libraries.</text>']
    for x, depth, width, name, samples, kind in boxes:
        y, share = height - 12 - ROW * (depth + 1), 100 * samples / root["samples"]
        letters = int((width - 6) / 6.1)
        shown = name if len(name) <= letters else name[:letters - 1] + "…" if letters >= 4 else ""
        out.append(f'<g><title>{escape(name)}: {share:.1f} %</title><rect x="{x:.1f}" y="{y}" width="{max(width - 0.4, 0.3):.1f}" height="{ROW - 1}" rx="1.5" '
                   f'fill={quoteattr(colour(name, kind))}/>' + (f'<text x="{x + 3:.1f}" y="{y + 12}" fill="#222">{escape(shown)}</text>' if shown else "") + "</g>")
    out.append("</svg>\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out))


def flame(paths, path, seconds=5):
    """Samples both daemons while one stream goes from beta to alpha as fast as it can, and draws what they did."""
    perf = shutil.which("perf")
    if perf is None:
        raise LabError("a flame graph needs perf: install linux-perf")
    ip, port = paths.bench.ways("beta", paths.port)["pilot"]
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "perf.data")
        with paths.world.spawn("alpha", PATH, "take", ip, str(port), str(seconds + 2), "1", "-", stdout=subprocess.DEVNULL) as client:
            recorded = subprocess.run([perf, "record", "-q", "-F", str(HZ), "--call-graph", "dwarf,16384", "-o", data, "-p", ",".join(daemons(paths.world, ("alpha", "beta"))),
                                       "--", "sleep", str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            client.wait(60)
        if not os.path.exists(data):
            raise LabError(f"perf records nothing here: {recorded.stdout.strip()[-300:]}")
        text = subprocess.run([perf, "script", "-i", data, "-F", "comm,ip,sym,dso", "--no-inline"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=240, check=True).stdout
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    svg(fold(text.decode(errors="replace")), "Both daemons, one stream over a veth with MTU 1500", path)
