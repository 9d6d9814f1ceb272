#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The template of translations holds exactly the marked strings. Usage: test-pot.py SOURCE_ROOT XGETTEXT-OPTION..."""
import difflib
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT, OPTIONS = pathlib.Path(sys.argv[1]), sys.argv[2:]
results = []


def check(name, lines):
    """Good when there is nothing to complain about."""
    results.append(not lines)
    print(f"{'not ok' if lines else 'ok'} {len(results)} - {name}")
    for line in lines:
        print('# ' + line.rstrip('\n'))


def extract(root, listed):
    """The template of the files in the list, as meson's target pilot-pot makes it."""
    with tempfile.TemporaryDirectory(prefix='pilot-pot-') as folder:
        output = pathlib.Path(folder, 'pilot.pot')
        subprocess.run(['xgettext', '--package-name=pilot', '-f', str(listed), '-D', str(root), '-k_', '-o', str(output), *OPTIONS], check=True)
        return output.read_text(encoding='utf-8')


def difference(template, made):
    """The lines that differ, but for the time of making."""
    old, new = ([line for line in text.splitlines() if not line.startswith('"POT-Creation-Date:')] for text in (template, made))
    return list(difflib.unified_diff(old, new, 'po/pilot.pot', 'the source', lineterm='', n=1))


def main():
    template = (ROOT / 'po/pilot.pot').read_text(encoding='utf-8')
    listed = set((ROOT / 'po/POTFILES').read_text().split())
    marked = {str(path.relative_to(ROOT)) for path in (ROOT / 'pilotctl').glob('*.c') if re.search(r'\bN?_ ?\("', path.read_text(encoding='utf-8'))}
    check('POTFILES names every file with a marked string, and no other', sorted(listed ^ marked))
    check('pilot.pot is up to date (else: meson compile -C BUILD pilot-pot)', difference(template, extract(ROOT, ROOT / 'po/POTFILES')))
    # Would it notice?
    with tempfile.TemporaryDirectory(prefix='pilot-pot-') as folder:
        for name in sorted(listed):
            copy = pathlib.Path(folder, name)
            copy.parent.mkdir(exist_ok=True)
            copy.write_text((ROOT / name).read_text(encoding='utf-8').replace('daemon is not running', 'daemon is asleep'), encoding='utf-8')
        found = difference(template, extract(pathlib.Path(folder), ROOT / 'po/POTFILES'))
        check('a changed string is noticed', [] if '+msgid "daemon is asleep"' in found else ['it is not'] + found)
    print(f'1..{len(results)}')
    return 0 if all(results) else 1


sys.exit(main())
