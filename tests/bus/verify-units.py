# SPDX-License-Identifier: LGPL-2.1-or-later
"""verify-units.py DATA_BUILD PROGRAM...: systemd-analyze verify on our units, their programs replaced by the built ones.

What a unit or the bus starts must be what meson installs, and where it installs it.
"""
import json
import os
import subprocess
import sys
import tempfile

build, programs = sys.argv[1], {os.path.basename(path): os.path.abspath(path) for path in sys.argv[2:]}
with open(f'{os.path.dirname(build)}/meson-info/intro-installed.json') as intro:
    installed = {os.path.basename(path): place for path, place in json.load(intro).items()}


def built(command):
    """The same command with the program of the build."""
    program, rest = command.split(' ', 1)
    name = os.path.basename(program)
    assert installed[name] == program, f'{program} is installed as {installed[name]}'
    return f'{programs[name]} {rest}'


failed = 0
units = ('pilotd', 'pilot-helper', 'pilot-rendezvous')
print(f'1..{len(units) + 3}')
with tempfile.TemporaryDirectory(prefix='pilot-units-') as folder:
    def verify(name, text):
        path = f'{folder}/{name}.service'
        with open(path, 'w') as file:
            file.write(text)
        done = subprocess.run(['systemd-analyze', 'verify', '--man=no', '--recursive-errors=no', path], capture_output=True, text=True)
        # Complaints about units of the machine are not ours.
        complaints = [line for line in done.stderr.splitlines() if f'{name}.service' in line]
        return done.returncode, complaints

    for number, name in enumerate(units, 1):
        with open(f'{build}/{name}.service') as file:
            lines = file.read().splitlines()
        for index, line in enumerate(lines):
            if line.startswith('ExecStart='):
                lines[index] = 'ExecStart=' + built(line[10:])
        code, complaints = verify(name, '\n'.join(lines) + '\n')
        if code != 0 or complaints:
            failed += 1
        print(('not ' if code != 0 or complaints else '') + f'ok {number} {name}')
        for line in complaints:
            print('# ' + line)
    # Would it notice?
    code, complaints = verify('pilot-broken', '[Service]\nExecStart=/nonexistent/program\nProtectSytem=strict\n')
    noticed = any('ProtectSytem' in line for line in complaints)
    failed += not noticed
    print(('' if noticed else 'not ') + f'ok {len(units) + 1} notices a mistake')
    # The bus: the same program, started the same way but for the subnet, and the unit is there.
    with open(f'{build}/network.pilotprotocol.Pilot1.Helper.service') as file:
        activation = dict(line.split('=', 1) for line in file.read().splitlines() if '=' in line)
    with open(f'{build}/pilot-helper.service') as file:
        unit = [line.split('=', 1)[1] for line in file.read().splitlines() if line.startswith(('ExecStart=', 'Environment=PILOT_SUBNET='))]
    subnet, start = unit
    same = built(activation['Exec']) == built(start.replace('${PILOT_SUBNET}', subnet.split('=')[1]))
    same = same and activation['SystemdService'] in installed
    failed += not same
    print(('' if same else 'not ') + f'ok {len(units) + 2} activation by the bus')
    # A limit of starts that is never reached is none: so many of them, each after its pause, have to fit into the time they are counted in.
    def setting(text, name, default=None):
        return next((line.split('=', 1)[1] for line in text.splitlines() if line.startswith(name + '=')), default)

    def seconds(text):
        return float(text.removesuffix('min')) * 60 if text.endswith('min') else float(text.removesuffix('s'))

    with open(f'{build}/pilot-rendezvous.service') as file:
        text = file.read()
    reached = int(setting(text, 'StartLimitBurst')) * seconds(setting(text, 'RestartSec')) < seconds(setting(text, 'StartLimitIntervalSec', '10s'))
    failed += not reached
    print(('' if reached else 'not ') + f'ok {len(units) + 3} the limit of starts is one')
sys.exit(1 if failed else 0)
