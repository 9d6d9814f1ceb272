# SPDX-License-Identifier: LGPL-2.1-or-later
"""examples/pilot-watch as the author of a desktop tool would run it: on a session bus, and on the private socket where there is none.

test-watch.py WATCH PILOTD PILOTCTL PILOT-RENDEZVOUS PLUGIN_PATH PYTHON. Needs root: a network namespace of its own."""
import os
import subprocess
import sys
import tempfile
import threading
import time

WATCH, PILOTD, PILOTCTL, RENDEZVOUS, PLUGINS, PYTHON = sys.argv[1:7]
DEADLINE = 30
processes = []


def start(*words, **options):
    # It ends with this test, however that ends.
    process = subprocess.Popen(['setpriv', '--pdeathsig=KILL', *words], text=True, **options)
    processes.append(process)
    return process


class Watch:
    """The example, and the lines it has printed."""

    def __init__(self, environment, *options):
        self.lines, self.seen = [], 0
        self.process = start(PYTHON, WATCH, *options, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip('\n'))

    def expect(self, *parts):
        """A line with all of them, now or soon, behind the one expected last."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            for index in range(self.seen, len(self.lines)):
                if all(part in self.lines[index] for part in parts):
                    self.seen = index + 1
                    return
            time.sleep(0.02)
        raise AssertionError(f'no line with {parts} in {self.lines[self.seen:]}')

    def answer(self, text):
        self.process.stdin.write(text + '\n')
        self.process.stdin.flush()


class Node:
    def __init__(self, folder, name, bus=None):
        home = f'{folder}/{name}'
        os.mkdir(home, 0o700)
        self.environment = {key: value for key, value in os.environ.items() if key not in ('DBUS_SESSION_BUS_ADDRESS', 'PILOT_BUS')}
        self.environment |= {'HOME': home, 'PILOT_HOME': home, 'XDG_RUNTIME_DIR': home, 'PILOT_PLUGIN_PATH': PLUGINS}
        if bus is not None:
            self.environment['DBUS_SESSION_BUS_ADDRESS'] = bus
        self.name = name

    def start(self):
        self.process = start(PILOTD, '--registry', '127.0.0.1:9000', '--beacon', '127.0.0.1:9001', '--hostname', self.name, '--listen', '127.0.0.1:0',
                             env=self.environment, stderr=subprocess.DEVNULL)
        end = time.monotonic() + DEADLINE
        while self.ctl('info', check=False).find('online') < 0:
            assert time.monotonic() < end and self.process.poll() is None, f'{self.name} is not online'
            time.sleep(0.05)

    def ctl(self, *words, check=True):
        environment = self.environment | {'PILOT_BUS': self.environment['HOME'] + '/pilot/bus'}
        done = subprocess.run([PILOTCTL, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, done
        return done.stdout


def run(folder, bus):
    anna, bob = Node(folder, 'anna', bus), Node(folder, 'bob')
    watch = Watch(anna.environment, '--approve')
    watch.expect('the daemon does not run')
    anna.start()
    watch.expect('the daemon runs')
    bob.start()
    private = Watch(bob.environment)
    bob.ctl('handshake', '1', 'please')
    watch.expect('+ TrustRequest', 'NodeId=2', 'Justification=please')
    watch.answer('y')
    watch.expect('- TrustRequest', 'NodeId=2')
    private.expect('Peer', 'Hostname=anna', 'Trusted=True', 'State=connected')
    assert '8080' in anna.ctl('trust'), 'approved with other ports than asked for'
    bob.ctl('gateway', 'start', '1')
    private.expect('+ Mapping', 'LocalAddress=10.4.0.1', 'PeerState=connected')
    anna.ctl('untrust', '2')
    private.expect('* Mapping', 'PeerState=untrusted')
    bob.ctl('gateway', 'stop')
    private.expect('- Mapping', 'LocalAddress=10.4.0.1')
    anna.process.terminate()
    watch.expect('the daemon does not run')
    bob.process.terminate()
    assert private.process.wait(timeout=DEADLINE) == 0, 'it has not noticed that its daemon has gone'
    watch.process.terminate()
    assert watch.process.wait(timeout=DEADLINE) == 0


def main():
    if os.geteuid() != 0:
        print('1..0 # SKIP only root can make the namespace')
        return 0
    if '--inside' not in sys.argv:
        os.execvp('unshare', ['unshare', '-n', sys.executable, *sys.argv, '--inside'])
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    print('1..1', flush=True)
    with tempfile.TemporaryDirectory(prefix='pilot-watch-') as folder:
        bus = start('dbus-daemon', '--session', '--nofork', '--print-address=1', '--address', f'unix:path={folder}/session', stdout=subprocess.PIPE)
        start(RENDEZVOUS, '--store', folder + '/store.db', '--registry-addr', '127.0.0.1:9000', '--beacon-addr', '127.0.0.1:9001', stdout=subprocess.DEVNULL)
        try:
            run(folder, bus.stdout.readline().strip())
            print('ok 1 watch')
            return 0
        except AssertionError as error:
            print(f'not ok 1 watch\n# {error}')
            return 1
        finally:
            for process in reversed(processes):
                if process.poll() is None:
                    process.kill()
                process.wait()


if __name__ == '__main__':
    sys.exit(main())
