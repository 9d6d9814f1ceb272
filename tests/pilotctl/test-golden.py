#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What pilotctl prints, against the files in golden/. UPDATE_GOLDEN=1 writes them anew. See README.md.

test-golden.py PILOTCTL FAKE-DAEMON INTERFACE-XML SOURCE_ROOT [FILE…]
"""
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

PILOTCTL, FAKE, XML, ROOT = *sys.argv[1:4], pathlib.Path(sys.argv[4])
ONLY = sys.argv[5:]
FOLDER = ROOT / 'tests/pilotctl/golden'
UPDATE = os.environ.get('UPDATE_GOLDEN') == '1'
TABLE = r'^  ((?:daemon|gateway) \w+|[a-z][a-z-]*) {2,}\S'   # a line of the list of commands
RESULT = ('|', '!', '>', '=')
SECONDS = r'\d+s ago'   # an age that is another one as soon as the clock moves on: sometimes before the command is run
# Commands that do not talk to a daemon that runs: tests/pilotctl/test-pilotctl.py and the lab have them. Their help is here all the same.
NO_CASE = {'daemon start', 'daemon stop', 'daemon status', 'init', 'config'}
# What these are about goes to and fro through descriptors, which a script of answers is no good for: tests/lab/test_streams.py has them.
NO_CASE |= {'traceroute', 'bench', 'connect', 'send', 'recv', 'dgram', 'listen'}


def now_tokens(text, now):
    """{now-7230} in a script is that many seconds ago."""
    return re.sub(r'\{now-(\d+)\}', lambda match: str(now - int(match[1])), text)


class Fake:
    """The scripted daemon, for one command."""

    def __init__(self, home, script):
        self.socket = os.path.join(home, 'bus')
        self.process = subprocess.Popen([FAKE, self.socket, XML], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write(script)
        self.process.stdin.close()
        assert self.process.stdout.readline() == 'ready\n', 'the script is wrong: see above'

    def stop(self):
        """The calls it got."""
        self.process.terminate()
        calls = self.process.stdout.read()
        self.process.wait()
        os.unlink(self.socket)
        return calls.splitlines()


def base_script():
    return [line for line in (FOLDER / 'daemon.script').read_text().splitlines() if line and not line.startswith('#')]


def member(line):
    return re.match(r'[A-Za-z0-9]+\.[A-Za-z0-9]+[~@]?', line)[0]


def with_overrides(overrides):
    """What a case says replaces what the script says of the same member."""
    replaced = {member(line) for line in overrides}
    return [line for line in base_script() if member(line) not in replaced] + overrides


def tidy(text, home, now, pid):
    text = text.replace(home, '{home}').replace(f'(pid {pid})', '(pid {pid})').replace(f'"pid":{pid}', '"pid":{pid}')
    if re.match(TABLE, text):
        text = '  {commands}'
    return re.sub(r'\b(1\d{9})\b', lambda match: f'{{now-{now - int(match[1])}}}' if 0 <= now - int(match[1]) < 10**6 else match[1], text)


def run(command, overrides):
    """The lines of a result."""
    now = int(time.time())
    with tempfile.TemporaryDirectory(prefix='pilotctl-golden-') as home:
        environment = {'PATH': '/usr/bin:/bin', 'HOME': home, 'PILOT_HOME': home, 'XDG_RUNTIME_DIR': home, 'LC_ALL': 'C.UTF-8', 'TZ': 'UTC',
                       'PILOT_BUS': os.path.join(home, 'bus'), 'PILOT_DAEMON_BIN': os.path.join(home, 'pilotd')}
        # pilotd's own help is not pilotctl's.
        pathlib.Path(home, 'pilotd').write_text('#!/bin/sh\necho "pilotd $*"\n')
        os.chmod(os.path.join(home, 'pilotd'), 0o755)
        environment |= {name: value for name, value in os.environ.items() if name.endswith('SAN_OPTIONS')}
        fake = None if overrides == ['off'] else Fake(home, now_tokens('\n'.join(with_overrides(overrides)) + '\n', now))
        try:
            process = subprocess.run([PILOTCTL, *shlex.split(command)], env=environment, capture_output=True, text=True, timeout=60)
        finally:
            calls = fake.stop() if fake is not None else []
        pid = fake.process.pid if fake is not None else None
        lines = [('> ' + tidy(call, home, now, pid)).rstrip() for call in calls]
        lines += [('| ' + tidy(line, home, now, pid)).rstrip() for line in process.stdout.splitlines()]
        lines += [('! ' + tidy(line, home, now, pid)).rstrip() for line in process.stderr.splitlines()]
        return [line for i, line in enumerate(lines) if not line.endswith('   {commands}') or lines[i - 1] != line] + [f'= {process.returncode}']


def run_file(path):
    """The file as it would be written now, and its commands with what was expected and what was found."""
    written, cases = [], []
    lines = path.read_text().splitlines() + ['']
    index = 0
    while index < len(lines) - 1:
        line = lines[index]
        index += 1
        written.append(line)
        if not line.startswith('$ '):
            continue
        overrides = []
        while lines[index].startswith('< '):
            overrides.append(lines[index][2:])
            written.append(lines[index])
            index += 1
        expected = []
        while lines[index].startswith(RESULT):
            expected.append(lines[index])
            index += 1
        found = run(line[2:], overrides)
        written += found
        cases.append((line[2:], expected, found))
    return '\n'.join(written).rstrip() + '\n', cases


def table():
    text = subprocess.run([PILOTCTL, '--help'], capture_output=True, text=True, env={'LC_ALL': 'C.UTF-8', 'PATH': '/usr/bin:/bin'}).stdout
    return re.findall(TABLE, text, re.M)


def missing(commands, cases):
    """Which of text, JSON and help a command has no case for."""
    for command in commands:
        own = [case for case in cases if case == command or case.startswith(command + ' ')]
        kinds = {'help': any('--help' in case for case in own)}
        if command not in NO_CASE:
            kinds['text'] = any('--json' not in case and '--help' not in case for case in own)
            kinds['json'] = any('--json' in case for case in own)
        yield command, [kind for kind, there in kinds.items() if not there]


def documented():
    """command → the members that pilotctl-json(5) names of it, those of the commands it refers to included."""
    own, others, command = {}, {}, None
    for line in (ROOT / 'data/man/pilotctl-json.5').read_text().split('.Sh MEMBERS OF DATA')[1].split('.Sh EXAMPLES')[0].splitlines():
        macro, _, text = line.partition(' ')
        if line.startswith('.It Cm '):
            command = text.removeprefix('Cm ')
            own[command], others[command] = set(), []
        elif macro == '.Li':
            own[command] |= set(re.findall(r'[a-z][a-z0-9_]*', text))
        elif macro == '.Cm':
            others[command].append(text.rstrip(' .,:;'))
    return {command: set().union(own[command], *(own[other] for other in others[command])) for command in own}, own


def members(value):
    """Names in a result, but for those of a plugin's own; the text beside base64 stands for both."""
    if isinstance(value, list):
        return set().union(*map(members, value))
    if not isinstance(value, dict):
        return set()
    return {name.removesuffix('_b64') for name in value}.union(*(members(item) for name, item in value.items() if name != 'transports'))


def undocumented(results):
    """What of the results of each command pilotctl-json(5) does not name, and the commands it names that there are not."""
    named, own = documented()
    for command in table():
        lines = [re.sub(r'\{[a-z]+(-\d+)?\}', '1', line[2:]) for case, found in results if case == command or case.startswith(command + ' ') for line in found
                 if line.startswith('| {') and '--json' in case]
        # The events of a stream have no frame.
        printed = set().union(*(members(json.loads(line).get('data', json.loads(line))) for line in lines))
        yield command, sorted(printed - named.get(command, set())) if command in own else ['the command itself']
    yield 'no other command', sorted(set(own) - set(table()))


class Tap:
    def __init__(self):
        self.results = []

    def check(self, name, good, detail=(), todo=False):
        self.results.append(good or todo)
        print(f"{'ok' if good else 'not ok'} {len(self.results)} - {name}{' # TODO' if todo and not good else ''}", flush=True)
        for line in () if good else detail:
            print('# ' + line)


def main():
    tap, seen, results = Tap(), [], []
    for path in sorted(FOLDER.glob('*.golden')):
        if ONLY and path.stem not in ONLY:
            continue
        text, cases = run_file(path)
        if UPDATE and text != path.read_text():
            path.write_text(text)
            print(f'# {path.name} was written anew: read the difference')
        for command, expected, found in cases:
            seen.append(command)
            results.append((command, found))
            unscripted = any('the script has no' in line for line in found)
            tap.check(f'{path.stem}: {command}', not unscripted and (UPDATE or expected == found), ['expected:', *expected, 'found:', *found, 'if that is right: UPDATE_GOLDEN=1 meson test golden'])
            if any(re.search(SECONDS, line) for line in found):
                tap.check(f'{path.stem}: {command}: an age in seconds', False, ['let the script name an older time: tests/pilotctl/README.md'])
    if not ONLY:
        for command, kinds in missing(table(), seen):
            tap.check(f'{command}: its text, JSON and help have cases', not kinds, [f"no {', no '.join(kinds)}: tests/pilotctl/README.md says how to add it"], todo=True)
        for command, names in undocumented(results):
            tap.check(f'{command}: its members are in pilotctl-json(5)', not names, names)
    print(f'1..{len(tap.results)}')
    return 0 if all(tap.results) else 1


sys.exit(main())
