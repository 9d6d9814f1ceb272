#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts the engine's own instructions with callgrind and compares them with baseline.json.

instructions.py ENGINE [--update]: cryptography, libc and GLib are not counted, so the figures hold for any machine with the same compiler.
"""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile

BASELINE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "baseline.json")
TOLERANCE = 1.10
MEGABYTES, ROUND_TRIPS = 6, 300

# name: arguments of the program, and by what its count is divided
RUNS = {
    "per megabyte, lossless": (["bulk", str(MEGABYTES), "0"], MEGABYTES),
    "per megabyte, 1 % loss": (["bulk", str(MEGABYTES), "10"], MEGABYTES),
    "per round trip, 100 idle streams": (["idle", "100", str(ROUND_TRIPS)], ROUND_TRIPS),
    "per round trip, 10000 idle streams": (["idle", "10000", str(ROUND_TRIPS)], ROUND_TRIPS),
}


def own_instructions(path, engine):
    """The cost of the program's own functions, but for those of engine.c, from a callgrind file."""
    names = {"ob": {}, "fl": {}}
    current = {"ob": "", "fl": ""}
    total, skip = 0, False
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            key, _, value = line.rstrip("\n").partition("=")
            if key in ("ob", "fl", "fi", "fe"):
                kind = "ob" if key == "ob" else "fl"
                number, _, name = value.partition(" ")
                if name:
                    names[kind][number] = name
                current[kind] = names[kind][number]
            elif key in ("cob", "cfl", "cfi", "cfn"):
                number, _, name = value.partition(" ")
                if name and key != "cfn":
                    names["ob" if key == "cob" else "fl"][number] = name
            elif key == "calls":
                skip = True  # the next line is what the callee cost
            elif line[:1].isdigit() or line[:1] in "+-*":
                if not skip and os.path.basename(current["ob"]) == os.path.basename(engine) and not current["fl"].endswith("tests/bench/engine.c"):
                    total += int(line.split()[1])
                skip = False
    return total


def count(engine, arguments):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        subprocess.run(["valgrind", "--quiet", "--tool=callgrind", "--toggle-collect=measured", f"--callgrind-out-file={out}", engine, *arguments],
                       check=True, timeout=280)
        return own_instructions(out, engine)


def main():
    engine = sys.argv[1]
    if shutil.which("valgrind") is None:
        print("1..0 # SKIP no valgrind")
        return 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        counts = {name: pool.submit(count, engine, arguments) for name, (arguments, _) in RUNS.items()}
        figures = {name: round(future.result() / RUNS[name][1]) for name, future in counts.items()}
    if "--update" in sys.argv:
        with open(BASELINE, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)
            file.write("\n")
    with open(BASELINE, encoding="utf-8") as file:
        baseline = json.load(file)
    print(f"1..{len(RUNS) + 1}")
    failed = 0
    for number, (name, figure) in enumerate(figures.items(), 1):
        good = 0 < figure <= baseline[name] * TOLERANCE
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} instructions {name}: {figure}, baseline {baseline[name]}")
    few, many = figures["per round trip, 100 idle streams"], figures["per round trip, 10000 idle streams"]
    good = many <= few * 1.5
    failed += not good
    print(f"{'ok' if good else 'not ok'} {len(RUNS) + 1} the number of idle streams hardly matters: {many / few:.2f} times")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
