#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds plugins/template as its author would: from a copy of the folder, against nothing but what `meson install` put into a staging
folder, found with pkg-config; then loads it with the daemon's loader."""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


def run(command, **kwargs):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if done.returncode != 0:
        sys.exit(f"{command} failed:\n{done.stdout}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser()
    for name in ("source", "build", "load-one", "plugin-check"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="pilot-template-") as work:
        stage = pathlib.Path(work) / "stage"
        run(["meson", "install", "-C", str(args.build), "--no-rebuild", "--destdir", str(stage), "--tags", "devel,runtime"])
        package = list(stage.rglob("pilot-1.pc"))
        if len(package) != 1:
            sys.exit(f"staged: {package} instead of one pilot-1.pc")
        # A staging folder is not where the files will be: the prefix is what moves, as for every package under a build root.
        text = package[0].read_text()
        prefix = re.search(r"^prefix=(.+)$", text, re.M).group(1)
        package[0].write_text(text.replace(f"prefix={prefix}\n", f"prefix={stage}{prefix}\n", 1))

        # Whoever installs it somewhere else than below /usr need not know of ldconfig.
        library = next(stage.rglob("libpilot-1.so")).parent
        for program in ("bin/pilotctl", "bin/pilotd", "bin/pilot-plugin-check"):
            path = str(library).removeprefix(str(stage)).encode()
            if prefix != "/usr" and path not in (stage / prefix.lstrip("/") / program).read_bytes():
                sys.exit(f"{program} does not look for its library in {path}")

        copy = pathlib.Path(work) / "template"
        shutil.copytree(args.source, copy)
        environment = dict(os.environ, PKG_CONFIG_PATH=str(package[0].parent))
        build = pathlib.Path(work) / "build"
        run(["meson", "setup", str(build), str(copy)], env=environment)
        run(["ninja", "-C", str(build)], env=environment)
        commands = (build / "compile_commands.json").read_text()
        if str(args.source.parent.parent) in commands:
            sys.exit("the template was built against the source tree")

        plugins = run(["pkg-config", "--variable=plugindir", "pilot-1"], env=environment).strip()
        if not plugins.startswith(str(stage)) or not plugins.endswith("plugins-1"):
            sys.exit(f"plugindir is {plugins}")
        folder = pathlib.Path(work) / "plugins"
        folder.mkdir(mode=0o755)
        shutil.copy(build / "template.so", folder / "template.so")
        (folder / "template.so").chmod(0o644)
        done = subprocess.run([str(args.load_one), str(folder), "template"], capture_output=True, text=True)
        if done.returncode != 0 or done.stdout != "10.5.3.125\n":
            sys.exit(f"load-one said {done.stdout!r} {done.stderr!r}")

        done = subprocess.run([str(args.plugin_check), str(folder / "template.so"), "--setting", "second=7"], capture_output=True, text=True)
        if done.returncode != 0 or "ok 12 - settings" not in done.stdout:
            sys.exit(f"pilot-plugin-check said {done.stdout} {done.stderr}")

        # And as installed by the author, beside the plugins Pilot ships.
        run(["meson", "install", "-C", str(build), "--no-rebuild"], env=environment)
        if not (pathlib.Path(plugins) / "template.so").is_file():
            sys.exit("not installed into plugindir")
    lines = len((args.source / "template.c").read_text().splitlines())
    if lines > 130:
        sys.exit(f"the template has {lines} lines: the API has become wrong, or the template too long")


if __name__ == "__main__":
    main()
