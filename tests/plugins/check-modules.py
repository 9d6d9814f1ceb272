#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each module exports the descriptor and nothing else; each plugin includes the umbrella header and no other of the host's;
libpilot exports pilot_ symbols only; each plugin folder has the same entries and the same headings."""

import argparse
import pathlib
import re
import subprocess
import sys

HEADINGS = ["What it is for", "Settings", "Behaviour", "Limits"]
# A sanitizer exports names of its own.
FOREIGN = re.compile(r"^(__asan|__ubsan|__odr_asan|__sanitizer|__gcov|__llvm|__prof)")
STANDARD = re.compile(r"^(arpa|bits|linux|net|netinet|sys|gio|glib|json-glib|libsoup)/|^[a-z0-9]+\.h$")


def exported(path):
    text = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", path], check=True, capture_output=True, text=True).stdout
    return sorted(n for n in (line.split()[0] for line in text.splitlines()) if not FOREIGN.match(n))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--libpilot", required=True)
    parser.add_argument("modules", nargs="+")
    args = parser.parse_args()
    faults = []

    for module in args.modules:
        symbols = exported(module)
        if symbols != ["pilot_plugin_descriptor"]:
            faults.append(f"{module} exports {symbols}")
    others = [s for s in exported(args.libpilot) if not s.startswith("pilot_")]
    if others:
        faults.append(f"libpilot exports {others}")

    folders = [f for f in sorted(args.source.iterdir()) if f.is_dir()]
    if {pathlib.Path(m).stem for m in args.modules} != {f.name for f in folders} - {"template"}:
        faults.append(f"modules {args.modules} are not the folders {[f.name for f in folders]}")
    for folder in folders:
        own = {f.name for f in folder.iterdir()}
        for entry in ("README.md", "meson.build", f"{folder.name}.c"):
            if entry not in own:
                faults.append(f"{folder.name} has no {entry}")
        readme = (folder / "README.md").read_text() if "README.md" in own else ""
        found = re.findall(r"^## (.+)$", readme, re.M)
        if found[:len(HEADINGS)] != HEADINGS or not readme.startswith(f"# {folder.name}\n"):
            faults.append(f"{folder.name}/README.md has headings {found}, not {HEADINGS} first")
        if f'"{folder.name}"' not in "".join(f.read_text() for f in folder.glob("*.c")):
            faults.append(f"no source of {folder.name} calls the plugin by its name")
        for source in sorted(folder.glob("*.[ch]")):
            for quote, header in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', source.read_text(), re.M):
                if quote == '"' and header not in own:
                    faults.append(f"{source} includes \"{header}\", which is not the plugin's own")
                if quote == "<" and header != "pilot.h" and (not STANDARD.match(header) or header.startswith("pilot-")):
                    faults.append(f"{source} includes <{header}>; of the host only <pilot.h> is allowed")

    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
