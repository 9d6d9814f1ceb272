#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""pilot-plugin-check on plugins that are sound, and on modules that break one rule each: test-plugin-check.py PROGRAM BROKEN_FOLDER MODULE…"""

import os
import pathlib
import re
import subprocess
import sys

PROGRAM, BROKEN = sys.argv[1], pathlib.Path(sys.argv[2])
MODULES = {pathlib.Path(path).stem: path for path in sys.argv[3:]}
SETTINGS = {"transport-udp": ["listen=127.0.0.1:0", "offload=off"]}
# What is said of each; its case; how many cases come after it.
WRONG = {
    "no-symbol": ("load", 'no symbol "pilot_plugin_descriptor"', False),
    "abi-major": ("load", "built for plugin ABI 2.", False),
    "unresolved": ("load", "pilot_function_that_exists_nowhere", False),
    "type": ("create", "", False),
    "enable-fails": ("enable", "the cable is not plugged in", False),
    "breaches": ("distinct", "allocate failed without saying why (a fault of the plugin)", True),
}
results = []


def check(name, good, process):
    results.append(good)
    print(f"{'ok' if good else 'not ok'} {len(results)} - {name}")
    if not good:
        print("\n".join("# " + line for line in (process.stdout + process.stderr).splitlines()))


def run(*words):
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=100, check=False)


def cases(process):
    """case → whether it was good."""
    return {name: not bad for bad, name in re.findall(r"^(not )?ok \d+ - ([a-z-]+): ", process.stdout, re.M)}


def main():
    for name, path in MODULES.items():
        process = run(*(f"--setting={one}" for one in SETTINGS.get(name, [])), path)
        found = cases(process)
        relay = name == "transport-wss"
        good = found.get("create") and (not found["enable"] and 'set "url"' in process.stdout if relay else len(found) > 10 and all(found.values()))
        check(f"{name} is {'not enabled without a beacon' if relay else 'sound'}", good and process.returncode == (1 if relay else 0) and process.stderr == "" and
              f"1..{len(found)}\n" in process.stdout, process)
    for name, (case, said, goes_on) in WRONG.items():
        process = run(str(BROKEN / f"{name}.so"))
        found = cases(process)
        check(f"{name}: {case} fails", process.returncode == 1 and found.get(case) is False and said in process.stdout and
              (list(found)[-1] != case) == goes_on, process)
    # A crash takes one case with it and is named.
    process = run(str(BROKEN / "crash.so"))
    found = cases(process)
    check("crash: told, and the others go on", process.returncode == 1 and found.get("release") is False and found.get("same-again") is True and
          "ended by signal 9" in process.stdout, process)
    for words in ((), ("a.so", "b.so"), ("--setting", "x", "a.so"), ("--no-such-option", "a.so")):
        process = run(*words)
        check(f"{' '.join(words) or 'nothing'}: usage", process.returncode == 2 and process.stdout == "" and process.stderr != "", process)
    process = run(os.devnull)
    check("a device is no module", process.returncode == 1 and cases(process) == {"load": False}, process)
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
