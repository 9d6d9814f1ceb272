# SPDX-License-Identifier: LGPL-2.1-or-later
"""verify-units.py DATA_BUILD PROGRAM...: systemd-analyze verify on our units, their programs replaced by the built ones."""
import os
import subprocess
import sys
import tempfile

build, programs = sys.argv[1], {os.path.basename(path): os.path.abspath(path) for path in sys.argv[2:]}
failed = 0
units = ('pilotd', 'pilot-helper', 'pilot-rendezvous')
print(f'1..{len(units) + 1}')
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
                program, rest = line[10:].split(' ', 1)
                assert '@' not in program, line
                lines[index] = f'ExecStart={programs[os.path.basename(program)]} {rest}'
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
sys.exit(1 if failed else 0)
