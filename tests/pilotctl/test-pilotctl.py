#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""pilotctl without a daemon: table, help, completion, manuals, exit codes, configuration; with one: malformed addresses.

Usage: test-pilotctl.py PILOTCTL PILOTD SOURCE_ROOT [PROGRAM…], each PROGRAM one with a manual of its own"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile

PILOTCTL, PILOTD, ROOT, PROGRAMS = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4:]
# What needs arguments to get as far as asking for the daemon.
ARGUMENTS = {
    'handshake': ['0:0000.0000.0005'], 'approve': ['5'], 'reject': ['5'], 'untrust': ['5'], 'expose': ['5'], 'unexpose': ['5'],
    'find': ['anna'], 'set-hostname': ['anna'], 'ping': ['5'], 'gateway map': ['5'], 'gateway unmap': ['10.4.0.1'],
    'gateway start': ['5'], 'traceroute': ['5'], 'bench': ['5'], 'connect': ['5', '--message', 'x'], 'send': ['5', '1000', '--data', 'x'],
    'recv': ['1000'], 'dgram': ['5', '1000', '--data', 'x'], 'listen': ['1000'],
    'send-message': ['5', '--data', 'hello'], 'send-file': ['5', '/etc/hostname'],
    'subscribe': ['5', 'news'], 'publish': ['5', 'news', '--data', 'x'],
}
COMMON = {'--json', '--bus', '--help'}
# What the manual says of several commands at once, or names in one that it does not belong to.
SAID_TOGETHER = {'bench': {'--no-auto-handshake'}, 'connect': {'--no-auto-handshake'}, 'send': {'--no-auto-handshake', '--timeout'}, 'dgram': {'--no-auto-handshake'},
                 'subscribe': {'--no-auto-handshake'}}
NAMED_BESIDES = {'netcheck': {'--beacon'}}
LOCAL = {'daemon start', 'daemon stop', 'daemon status', 'init', 'config', 'inbox', 'received'}
results = []


def run(home, *words, bus='no-such-socket', daemon=PILOTD, locale='C.UTF-8'):
    environment = {'PATH': '/usr/bin:/bin', 'LC_ALL': locale, 'HOME': home, 'PILOT_HOME': home, 'XDG_RUNTIME_DIR': home, 'PILOT_DAEMON_BIN': daemon,
                   'PILOT_BUS': bus if bus == 'session' else os.path.join(home, bus)}
    for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS', 'LD_LIBRARY_PATH', 'PILOT_PLUGIN_PATH'):
        if name in os.environ:
            environment[name] = os.environ[name]
    return subprocess.run([PILOTCTL, *words], env=environment, capture_output=True, text=True, timeout=60)


def check(name, good, detail=''):
    results.append(good)
    print(f"{'ok' if good else 'not ok'} {len(results)} - {name}")
    if not good:
        for line in str(detail).splitlines():
            print('# ' + line)


def error_of(process):
    try:
        return json.loads(process.stderr)
    except ValueError:
        return {}


def table(home):
    text = run(home, '--help').stdout
    return re.findall(r'^  ((?:daemon|gateway) \w+|[a-z-]+) {2,}\S', text, re.M)


def options_of_help(text):
    return set(re.findall(r'^ .*?(--[a-z][a-z0-9-]*)', text, re.M))


def options_of_manual(text):
    return {'--' + name for name in re.findall(r'Fl (?:Fl |-)([a-z][a-z0-9-]*)', text)}


def manual_entries():
    """command → what the manual says of it."""
    entries, current = {}, None
    for line in (ROOT / 'data/man/pilotctl.1').read_text().split('.Ss Finding')[0].splitlines():
        found = re.match(r'^\.It Cm (.+?)(?: (?:Ar|Op|Fl|Oo)\b.*)?$', line)
        current = found[1] if found else current
        if current:
            entries[current] = entries.get(current, '') + line + '\n'
    return entries


def check_manuals(home):
    """Every option of a program stands in its manual, and no other."""
    for program in (PILOTD, *PROGRAMS):
        name = os.path.basename(program)
        manual = next((ROOT / 'data/man').glob(f'{name}.[18]'))
        process = subprocess.run([program, '--help'], env={**os.environ, 'HOME': home}, capture_output=True, text=True, timeout=60, check=False)
        there, said = options_of_help(process.stdout) - {'--help'}, options_of_manual(manual.read_text()) - {'--help'}
        check(f'{name}: its options and those of its manual', there and there == said, there ^ said)
        check(f'{name} --help: whole characters', '[OPTION…]' in process.stdout, process.stdout)


def check_documents(home, commands):
    entries = manual_entries()
    headings = set(entries)
    for command in commands:
        check(f'{command}: in the manual', command in headings, sorted(headings))
    check('the manual has no command that is not there', not headings - set(commands), headings - set(commands))
    for command in commands:
        check(f'{command}: completed', completes(command.split()), command)
        process = run(home, *command.split(), '--help')
        options = options_of_help(process.stdout + process.stderr) - COMMON
        offered = set(complete(['pilotctl', *command.split(), '--'])) - COMMON
        if command == 'daemon start':
            # The help is pilotd's, whose options have a manual of their own.
            options |= {'--foreground', '--wait'}
        else:
            said = (options_of_manual(entries.get(command, '')) | SAID_TOGETHER.get(command, set())) - NAMED_BESIDES.get(command, set()) - COMMON
            check(f'{command}: its options and those of its manual', options == said, options ^ said)
        check(f'{command}: its options are completed, and no others', options == offered, options ^ offered)


def check_settings():
    """Keys and values of --set, as bash hands them over: taken apart at the sign."""
    man = (ROOT / 'data/man/pilot-config.5').read_text()
    keys = {key + '=' for key in re.findall(r'^\.It ([a-z][a-z0-9_.-]*)$', man, re.M)} - {'plugins=', 'plugin-settings='}
    check('config --set: every key of pilot-config(5) is completed', set(complete(['pilotctl', 'config', '--set', ''])) == keys,
          set(complete(['pilotctl', 'config', '--set', ''])) ^ keys)
    check('plugins --set: the key is completed', complete(['pilotctl', 'plugins', '--set', 'tr']) == ['transport-udp.offload='])
    for words, values in ((['plugins', '--set', 'transport-udp.offload', '='], ['auto', 'off']), (['plugins', '--set', 'transport-udp.offload', '=', 'o'], ['off']),
                          (['config', '--set', 'transport', '=', 'c'], ['compat']), (['config', '--set', 'registry', '=', ''], []),
                          (['config', '--set', 'no_echo', '='], ['true', 'false']), (['daemon', 'start', '--transport', '=', 'a'], ['auto']),
                          (['daemon', 'start', '--transport', 'a'], ['auto'])):
        check(f'values: {" ".join(words)}', complete(['pilotctl', *words]) == values, complete(['pilotctl', *words]))


def complete(words):
    quoted = ' '.join(f"'{word}'" for word in words)
    script = f'. "{ROOT}/data/bash-completion/pilotctl"; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _pilotctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return subprocess.run(['bash', '--norc', '-c', script], capture_output=True, text=True, check=True).stdout.split()


def completes(words):
    return all(words[i] in complete(['pilotctl', *words[:i], words[i][:2]]) for i in range(len(words)))


def check_usage(home, commands):
    check('no arguments: exit 2', run(home).returncode == 2)
    for command in commands:
        process = run(home, *command.split(), '--help')
        check(f'{command} --help: exit 0', process.returncode == 0, process)
        process = run(home, '--json', *command.split(), '--no-such-option')
        if command != 'daemon start':
            check(f'{command}: unknown option refused', process.returncode == 1 and error_of(process).get('code') == 'invalid_argument', process)
    process = run(home, 'nonsense')
    check('unknown command: exit 2', process.returncode == 2 and 'nonsense' in process.stderr, process)
    process = run(home, '--nonsense')
    check('unknown option before the command: exit 2', process.returncode == 2 and 'unknown option --nonsense' in process.stderr, process)
    process = subprocess.run([PILOTCTL, '--json', 'gr\u00fcn'], env={**os.environ, 'LC_ALL': 'C', 'HOME': home}, capture_output=True, timeout=60, check=False)
    check('JSON is UTF-8 whatever the locale', 'gr\u00fcn' in json.loads(process.stderr)['message'], process)
    process = run(home, '--bus')
    check('--bus alone: what it needs', process.returncode == 1 and '--bus needs the path' in process.stderr, process)
    process = subprocess.run([PILOTCTL, 'info'], env={'HOME': home, 'PATH': '/usr/bin:/bin', 'LC_ALL': 'C.UTF-8'} | {name: value for name, value in os.environ.items() if 'SAN' in name or name == 'LD_LIBRARY_PATH'},
                             capture_output=True, text=True, timeout=60, check=False)
    check('without XDG_RUNTIME_DIR, as from cron', process.returncode == 0 or f'/run/user/{os.geteuid()}/pilot/bus' in process.stderr, process)
    process = run(home, 'nonsense', '--json')
    check('unknown command as JSON', process.returncode == 1 and error_of(process).get('code') == 'invalid_argument', process)
    for words, meant in (('gatway list', '"gateway list"'), ('gateway lits', '"gateway list"'), ('deamon', '"daemon"'), ('handshak 5', '"handshake"'),
                         ('peers --limt 3', '--limit?'), ('gateway start --prots 80', '--ports?'), ('peers --jsno', '--json?')):
        process = run(home, *words.split())
        check(f'{words}: what was meant', process.returncode != 0 and f'did you mean {meant}' in process.stderr, process)
    for words in ('unrelated', 'peers --unrelated', 'x' * 100):
        process = run(home, *words.split())
        check(f'{words[:20]}: nothing near', process.returncode != 0 and 'did you mean' not in process.stderr and '--help lists the' in process.stderr, process)
    for words in ('help gateway map', 'extras help gateway map', 'help extras gateway map'):
        process = run(home, *words.split())
        check(words, process.returncode == 0 and process.stdout == run(home, 'gateway', 'map', '--help').stdout, process)
    for words in ('help', 'extras help'):
        check(words, run(home, *words.split()).stdout == run(home, '--help').stdout)
    check('peers --limit -3: refused', 'a number from 0' in run(home, 'peers', '--limit', '-3').stderr)
    with open('/dev/full', 'w') as full:
        process = subprocess.run([PILOTCTL, '--help'], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    check('a full disk is a failure', process.returncode == 1 and 'could be written' in process.stderr, process)


def check_plain(home):
    """Where the locale has ASCII alone, what we print beyond it has a stand-in, and nothing becomes a question mark that was none."""
    plain = run(home, 'daemon', 'status', locale='C')
    check('ASCII: daemon status', plain.stdout == '* pilotd stopped\n', plain)
    for words in (['--help'], ['gateway', 'map', '--help'], ['find', '--help']):
        process, plain = run(home, *words), run(home, *words, locale='C')
        check(f'ASCII: {" ".join(words)}', '\u2026' in process.stdout and plain.stdout == process.stdout.replace('\u2026', '...'), plain)
    process = run(home, 'gr\u00fcn', locale='C')
    check('ASCII: a letter of somebody else has none', 'unknown command: gr?n' in process.stderr, process)
    sources = [re.sub(r'/\*.*?\*/', '', path.read_text(), flags=re.S) for path in (ROOT / 'pilotctl').glob('*.c')]
    used = {character for text in sources for character in text if ord(character) > 126}
    known = {chr(int(code, 16)) for code in re.findall(r'\{ 0x([0-9a-f]+), "', (ROOT / 'pilotctl/output.c').read_text())}
    check('ASCII: what pilotctl prints has stand-ins', used and used <= known, used - known)


def check_down(home, commands):
    for command in commands:
        if command in LOCAL:
            continue
        process = run(home, '--json', *command.split(), *ARGUMENTS.get(command, []))
        check(f'{command}: daemon down', process.returncode == 1 and process.stdout == '' and
              error_of(process).get('status') == 'error' and error_of(process).get('code') == 'not_running', process)
    check('daemon status --check: exit 1', run(home, 'daemon', 'status', '--check').returncode == 1)


def check_daemon_start(home):
    process = run(home, '--json', 'daemon', 'start', '--no-such-option')
    check('daemon start: unknown option refused and named', process.returncode == 1 and process.stdout == '' and
          '--no-such-option' in error_of(process).get('message', ''), process)
    process = run(home, '--json', 'daemon', 'start', '--registry', '127.0.0.1:1', '--beacon', '127.0.0.1:2', '--hostname', 'Bad_Name')
    check('daemon start: a malformed host name is refused', process.returncode == 1 and '"Bad_Name"' in error_of(process).get('message', ''), process)
    for option, value in (('--keepalive', 'often'), ('--keepalive', '-5'), ('--keepalive', '0'), ('--expose-default', 'some'), ('--endpoint', 'here'), ('--registry-trust', 'blind'),
                          ('--hostname', '893'), ('--transport', 'tcp'), ('--tls-trust', 'blind'), ('--log-level', 'loud'), ('--log-format', 'xml'),
                          ('--compat-beacon', 'https://net/'), ('--config', os.path.join(home, 'no-such-file'))):
        process = run(home, '--json', 'daemon', 'start', '--registry', '127.0.0.1:1', f'{option}={value}')
        check(f'daemon start: {option}={value} is refused', process.returncode == 1 and f'"{value}"' in error_of(process).get('message', ''), process)
    # What the daemon would be told, by one that says it and ends.
    told = pathlib.Path(home, 'pilotd')
    told.write_text('#!/bin/sh\necho "told: $* ${PILOT_BUS-none}"\n')
    told.chmod(0o755)
    for words, said in ((['daemon', 'start', '--bus', 'other', '--public'], '--public --bus other '), (['daemon', 'start', '--bus=other'], '--bus other '),
                        (['--bus', 'unix:path=other', 'daemon', 'start'], '--bus other '), (['--bus', 'session', 'daemon', 'start'], ' none')):
        process = run(home, '--json', *words, daemon=str(told))
        check(f'{" ".join(words)}: the daemon is told', f'told: {said}' in error_of(process).get('message', ''), process)
    check('daemon start: nothing runs after it', not pathlib.Path(home, '.pilot/pilot.pid').exists() and
          run(home, 'daemon', 'status', '--check').returncode == 1)


def check_logs(home):
    """Each run has a log of its own. The newest five stay, and what only looks like one, or may still be written."""
    folder, told = pathlib.Path(home, '.pilot'), pathlib.Path(home, 'pilotd')
    for path in folder.glob('pilot-*.log'):
        path.unlink()
    # No process has such a number: the kernel gives none above 2^22.
    old = [folder / f'pilot-{(1 << 22) + age}.log' for age in range(7)]
    others = [folder / 'pilot-1.log', folder / 'pilot-05x.log', folder / 'pilot-.log', folder / 'other.log']
    for age, path in enumerate(old):
        path.write_text('old')
        os.utime(path, (10 ** 9 - age, 10 ** 9 - age))
    for path in others:
        path.write_text('kept')
        os.utime(path, (1, 1))
    (folder / f'pilot-{1 << 23}.log').mkdir()
    run(home, '--json', 'daemon', 'start', '--public', daemon=str(told))
    check('daemon start: old logs go', [path.exists() for path in old] == [True] * 4 + [False] * 3, sorted(folder.iterdir()))
    check('daemon start: what is no old log stays', all(path.exists() for path in others) and (folder / f'pilot-{1 << 23}.log').is_dir(), sorted(folder.iterdir()))
    newest = folder / os.readlink(folder / 'pilot.log')
    check('daemon start: pilot.log is the newest', newest not in old and 'told: --public' in newest.read_text(), newest)
    run(home, '--json', 'daemon', 'start', '--public', daemon=str(told))
    check('daemon start: five with the newest', [path.exists() for path in old] == [True] * 3 + [False] * 4 and newest.exists(), sorted(folder.iterdir()))


# A host name has no colon, space or dot; one may begin with a figure.
MALFORMED = ['0:zzz', '0:0000.0000', '0:0000.0000.00005', '0:0000.0000.0005:', ':', '0:', 'a b', '10.4.0.1', '-5', '']


def check_interrupt(home, place):
    """Ctrl-C between two pings, or while one waits, is an end like any other."""
    with subprocess.Popen([PILOTCTL, '--bus', place, 'ping', '--count', '1000', '5'], env={**os.environ, 'HOME': home, 'LC_ALL': 'C.UTF-8'}, stdout=subprocess.PIPE,
                          text=True) as process:
        lines = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
    check('ping: Ctrl-C', process.returncode == 1 and lines[1].startswith('seq=0 error: ') and lines[-2].startswith('--- 0:0000.0000.0005 ping') and
          lines[-1].endswith(' sent, 0 received, 100% loss\n'), lines)


def check_quiet_failure(home, taken):
    """What fails on this machine fails before registry or beacon hear of it."""
    folder = pathlib.Path(home, 'second')
    folder.mkdir(0o700)
    with socket.create_server(('127.0.0.1', 0)) as registry, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beacon:
        beacon.bind(('127.0.0.1', 0))
        registry.setblocking(False)
        beacon.setblocking(False)
        for what, words, said in (('another daemon on its bus socket', ['--bus', taken], 'another daemon answers'),
                                  ('another daemon on its local socket', ['--bus', str(folder / 'bus'), '--socket', taken], 'another daemon answers'),
                                  ('no folder for its bus socket', ['--bus', '/dev/null/bus'], 'cannot make the folder'),
                                  ('a corrupt gateway.json', ['--bus', str(folder / 'bus')], 'gateway.json')):
            if what.startswith('a corrupt'):
                (folder / 'gateway.json').write_text('no JSON')
            process = subprocess.run([PILOTD, '--state-dir', str(folder), '--registry', f'127.0.0.1:{registry.getsockname()[1]}', '--listen', '127.0.0.1:0',
                                      '--beacon', f'127.0.0.1:{beacon.getsockname()[1]}', *words], env={**os.environ, 'HOME': home}, capture_output=True, text=True,
                                     timeout=60, check=False)
            heard = []
            for name, listen in (('registry', registry.accept), ('beacon', lambda: beacon.recv(2048))):
                try:
                    heard.append((name, listen()))
                except BlockingIOError:
                    pass
            check(f'pilotd: {what}', process.returncode == 1 and said in process.stderr and not heard, (heard, process))


def check_malformed(home):
    """A malformed address is told apart from an unknown name, without asking anybody. The registry of this daemon is a closed port."""
    place = os.path.join(home, 'named')
    config, wrapper = pathlib.Path(home, '.pilot/config.json'), pathlib.Path(home, 'pilotd')
    config.parent.mkdir(0o700)
    config.write_text('{"hostnam": "anna"}')
    config.chmod(0o600)
    # One line of each kind, as the other format of the log would have them.
    wrapper.write_text('#!/bin/sh\necho \'{"time":"","level":"warn","domain":"x","msg":"said as JSON"}\'\necho \'{"level":"info","msg":"not said"}\'\n'
                       f'exec "{PILOTD}" "$@"\n')
    wrapper.chmod(0o755)
    process = run(home, '--json', '--bus', place, 'daemon', 'start', '--registry', '127.0.0.1:1', '--beacon', '127.0.0.1:2', '--listen', '127.0.0.1:0',
                  daemon=str(wrapper))
    check('daemon start on a socket that was named', process.returncode == 0 and json.loads(process.stdout)['data']['socket'] == place, process)
    warnings = json.loads(process.stdout)['data'].get('warnings', [])
    check('daemon start: what it warned of', warnings[:1] == ['said as JSON'] and 'not said' not in warnings and
          f'{config}: unknown key "hostnam" is ignored: did you mean "hostname"?' in warnings, process)

    def ask(*words):
        return run(home, '--json', *words, bus='named')

    try:
        for command in ('handshake', 'approve', 'untrust', 'expose', 'ping', 'gateway map'):
            for address in MALFORMED:
                process = ask(*command.split(), '--', address)
                check(f'{command} "{address}": refused', process.returncode == 1 and process.stdout == '' and
                      error_of(process).get('code') == 'invalid_argument', process)
        for words in (['approve', '1', '--ports', ''], ['approve', '1', '--ports='], ['expose', '1', '--ports', ''], ['unexpose', '1', '--ports', ''],
                      ['handshake', '5', '--ports', ''], ['gateway', 'start', '--ports', '', '5'], ['gateway', 'map', '5', '']):
            process = ask(*words)
            check(f'{" ".join(words)}: an empty text is refused', process.returncode == 1 and process.stdout == '' and
                  error_of(process).get('code') == 'invalid_argument', process)
        # What is not UTF-8 is refused by us, not by an assertion of GLib's beside our one line; a file may have any name.
        for words in (['find', b'a\xff'], ['handshake', '5', b'\xfc'], ['gateway', 'start', b'\xff'], ['gateway', 'unmap', b'\xff'], ['inbox', 'read', b'\xff']):
            process = ask(*words)
            check(f'{words}: not UTF-8', process.returncode == 1 and process.stdout == '' and error_of(process).get('code') == 'invalid_argument', process)
        pathlib.Path(home, os.fsdecode(b'\xff.txt')).write_text('x')
        process = ask('send-file', '5', os.fsencode(home) + b'/\xff.txt', '--no-auto-handshake', '--timeout', '1s')
        check('send-file: a name that is not UTF-8', process.returncode == 1 and 'not registered' in error_of(process).get('message', ''), process)
        for wait in ('', '-1s', '5x', '0', 'inf', '1h30', '2h'):
            process = ask('ping', '--timeout', wait, '5')
            check(f'ping --timeout "{wait}": refused', process.returncode == 1 and error_of(process).get('code') == 'invalid_argument', process)
        process = ask('ping', '--count', '1', '--timeout', '0m1s200ms', '5')
        check('ping --timeout 0m1s200ms: understood', process.returncode == 1 and process.stdout != '', process)
        check_interrupt(home, place)
        check_quiet_failure(home, place)
        process = run(home, '-v', '--json', 'info', bus='named')
        check('-v leaves stdout to the answer', process.returncode == 0 and json.loads(process.stdout)['status'] == 'ok', process)
        process = ask('handshake', '3d-printer')
        check('handshake 3d-printer: a host name', process.returncode == 1 and error_of(process).get('code') in ('connection_failed', 'timeout') and
              '"3d-printer"' in error_of(process).get('message', ''), process)
    finally:
        process = ask('daemon', 'stop')
    check('daemon stop', process.returncode == 0 and 'forced' not in json.loads(process.stdout)['data'], process)


def check_config(home):
    path = pathlib.Path(home, '.pilot/config.json')
    process = run(home, '--json', 'init', '--registry', '127.0.0.1:9000', '--beacon', '127.0.0.1:9001', '--hostname', 'anna')
    check('init', process.returncode == 0 and json.loads(process.stdout)['data']['registry'] == '127.0.0.1:9000', process)
    check('init: mode 0600', path.exists() and path.stat().st_mode & 0o777 == 0o600)
    process = run(home, 'config', '--set', 'log-level=debug')
    check('config --set', process.returncode == 0 and json.loads(path.read_text())['log_level'] == 'debug', process)
    process = run(home, '--json', 'config')
    check('config shows it', process.returncode == 0 and json.loads(process.stdout)['data']['hostname'] == 'anna', process)
    before = path.read_bytes()
    process = run(home, '--json', 'config', '--set', 'no-such-key=1')
    check('unknown key refused', process.returncode == 1 and error_of(process).get('code') == 'invalid_argument' and path.read_bytes() == before, process)
    # What the manual names can be set. Objects are for an editor.
    manual = (ROOT / 'data/man/pilot-config.5').read_text()
    for key in re.findall(r'^\.It ([a-z][a-z_.-]+)$', manual, re.M):
        if key not in ('plugins', 'plugin-settings'):
            process = run(home, '--json', 'config', '--set', f'{key}=64')
            check(f'config --set {key}', process.returncode == 0 and json.loads(path.read_text())[key.replace('-', '_')] == '64', process)
    for key in ('.offload', 'transport-udp.', 'a.b.c'):
        process = run(home, '--json', 'config', '--set', f'{key}=1')
        check(f'config --set {key}: refused', process.returncode == 1 and error_of(process).get('code') == 'invalid_argument', process)
    path.write_text('{"log-levl": "info", "unlike": {}, "_why": "a remark", "plugins": {}, "plugin-settings": {}}')
    process = run(home, 'config')
    check('config: unknown keys are told', process.returncode == 0 and 'unlike  ' in process.stdout and process.stderr ==
          'warning: unknown key "log-levl" is ignored: did you mean "log_level"?\nwarning: unknown key "unlike" is ignored\n', process)
    process = run(home, '--json', 'config')
    check('config: unknown keys as JSON', process.stderr == '' and json.loads(process.stdout)['data']['unknown_keys'] == ['log-levl', 'unlike'], process)
    path.write_text('{"log-level": "info"}')
    check('config: nothing unknown', 'unknown_keys' not in json.loads(run(home, '--json', 'config').stdout)['data'])
    run(home, 'config', '--set', 'log_level=debug')
    check('config --set: one spelling of a key', json.loads(path.read_text()) == {'log_level': 'debug'}, path.read_text())
    path.write_text('{"log-level": "info"}')
    run(home, 'config', '--set', 'log_level=')
    check('config --set: removed under either spelling', json.loads(path.read_text()) == {}, path.read_text())
    for corrupt in (b'{"registry": ', b'[]', b'\xff\xfe', b'{"a":1,"a":2'):
        path.write_bytes(corrupt)
        for words in (['init', '--hostname', 'eve'], ['config', '--set', 'hostname=eve']):
            process = run(home, '--json', *words)
            check(f'{words[0]}: {corrupt!r} refused, untouched', process.returncode == 1 and error_of(process).get('code') == 'corrupt' and
                  path.read_bytes() == corrupt, process)


def main():
    with tempfile.TemporaryDirectory(prefix='pilotctl-test-') as home:
        commands = table(home)
        check('the table is read', len(commands) > 20, commands)
        check_documents(home, commands)
        check_settings()
        check_manuals(home)
        check_usage(home, commands)
        check_plain(home)
        check_down(home, commands)
        check_daemon_start(home)
        check_logs(home)
        check_config(home)
    with tempfile.TemporaryDirectory(prefix='pilotctl-test-') as home:
        check_malformed(home)
    print(f'1..{len(results)}')
    return 0 if all(results) else 1


sys.exit(main())
