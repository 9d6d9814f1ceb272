# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service of the machine: our bus policies and the activation file in a system bus of its own, pilotd and pilot-helper on it.

test-system-bus.py PILOTD PILOT-HELPER PLUGIN_PATH DATA_SOURCE DATA_BUILD PILOT-RENDEZVOUS. Needs root: network and mount namespace of its own, so that the
bus is where every program looks for it and the host's addresses are not touched.
"""
import json
import os
import pwd
import subprocess
import sys
import tempfile
import time

NAME = 'network.pilotprotocol.Pilot1'
HELPER = NAME + '.Helper'
# Before a program: it ends with this test, however that ends.
BOUND = ['setpriv', '--pdeathsig=KILL']
SERVED, OTHER = 'daemon', 'nobody'   # every system has them; "pilot" is made by sysusers

CONFIG = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{folder}</servicedir>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <includedir>{folder}/system.d</includedir>
</busconfig>
'''


def prepare(folder, helper, source, build):
    os.chmod(folder, 0o755)
    os.mkdir(folder + '/system.d')
    for name in (NAME, HELPER):
        with open(f'{source}/dbus/{name}.conf') as file:
            text = file.read()
        assert 'user="pilot"' in text
        with open(f'{folder}/system.d/{name}.conf', 'w') as file:
            file.write(text.replace('user="pilot"', f'user="{SERVED}"'))
    with open(f'{build}/{HELPER}.service') as file:
        lines = file.read().splitlines()
    with open(f'{folder}/{HELPER}.service', 'w') as file:
        for line in lines:
            if line.startswith('Exec='):
                program, arguments = line[5:].split(' ', 1)
                assert os.path.basename(program) == 'pilot-helper' and '--uid pilot ' in arguments
                line = f'Exec={helper} ' + arguments.replace('--uid pilot ', f'--uid {SERVED} ')
            if not line.startswith('SystemdService='):
                file.write(line + '\n')
    with open(f'{folder}/bus.conf', 'w') as file:
        file.write(CONFIG.format(folder=folder))


def as_user(user, *command):
    entry = pwd.getpwnam(user)
    return subprocess.run([*BOUND, f'--reuid={entry.pw_uid}', f'--regid={entry.pw_gid}', '--clear-groups', *command],
                          capture_output=True, text=True, timeout=30)


def call(user, method, *arguments, dest=HELPER, path='/network/pilotprotocol/Pilot1/Helper'):
    return as_user(user, 'gdbus', 'call', '--system', '--dest', dest, '--object-path', path, '--method', method, *arguments)


def addresses():
    return subprocess.run(['ip', '-4', 'addr', 'show', 'dev', 'lo'], capture_output=True, text=True, check=True).stdout


def bus_owner(name):
    result = call('root', 'org.freedesktop.DBus.GetConnectionUnixUser', name, dest='org.freedesktop.DBus', path='/org/freedesktop/DBus')
    return int(result.stdout.split()[1].strip(',)')) if result.returncode == 0 else None


def wait_for(what, check, process):
    end = time.monotonic() + 20
    while not check():
        assert process.poll() is None, f'ended while waiting for {what}'
        assert time.monotonic() < end, f'no {what}'
        time.sleep(0.05)


def check_user(helper):
    """A name or a number and nothing else: 64 + invalid_argument, as pilot-helper(8) says, and nothing is served."""
    for user in ('no-such-user', '4294967295', '99999999999', '-1', '12x', '', ' 1'):
        done = subprocess.run([helper, '--system', '--subnet', '10.4.0.0/16', '--uid', user], capture_output=True, text=True, timeout=30)
        assert done.returncode == 65 and f'"{user}"' in done.stderr, (user, done)
    assert bus_owner(HELPER) is None


def check_helper():
    refused = call(OTHER, HELPER + '.Describe')
    assert refused.returncode != 0 and 'AccessDenied' in refused.stderr, refused
    assert bus_owner(HELPER) is None, 'a stranger had the helper started'
    described = call(SERVED, HELPER + '.Describe')
    assert described.returncode == 0, described
    assert "'10.4.0.0/16'" in described.stdout and f"'uid': <uint32 {pwd.getpwnam(SERVED).pw_uid}>" in described.stdout, described
    assert bus_owner(HELPER) == 0
    refused = call(OTHER, HELPER + '.AddAddress', '10.4.0.7')
    assert refused.returncode != 0 and 'AccessDenied' in refused.stderr, refused
    assert '10.4.0.7' not in addresses()
    added = call(SERVED, HELPER + '.AddAddress', '10.4.0.7')
    assert added.returncode == 0 and '10.4.0.7/32' in addresses(), added
    outside = call(SERVED, HELPER + '.AddAddress', '10.9.0.7')
    assert outside.returncode != 0 and 'InvalidArgument' in outside.stderr, outside
    with open(f'/proc/{helper_pid(described.stdout)}/status') as file:
        effective = next(line.split()[1] for line in file if line.startswith('CapEff:'))
    assert int(effective, 16) == 1 << 12 | 1 << 10, effective   # CAP_NET_ADMIN, CAP_NET_BIND_SERVICE
    quit_ = call('root', HELPER + '.Quit')
    assert quit_.returncode == 0 and '10.4.0.7' not in addresses(), quit_


def helper_pid(description):
    return description.split("'pid': <uint32 ")[1].split('>')[0]


def check_names():
    for user, name, allowed in ((OTHER, NAME, False), (OTHER, HELPER, False), (SERVED, HELPER, False), (SERVED, NAME, True)):
        result = call(user, 'org.freedesktop.DBus.RequestName', name, '4', dest='org.freedesktop.DBus', path='/org/freedesktop/DBus')
        assert (result.returncode == 0) == allowed, (user, name, result)


NODE = dict(dest=NAME, path='/network/pilotprotocol/Pilot1')


def property_of(interface, name):
    """Asked by a stranger: status is for everybody. The value as gdbus writes it, "" while nobody answers."""
    result = call(OTHER, 'org.freedesktop.DBus.Properties.Get', f'{NAME}.{interface}', name, **NODE)
    return result.stdout.strip()[2:-3] if result.returncode == 0 else ''


class Service:
    """pilotd as its unit starts it: a user without privileges, folders made for it, the configuration somebody else's."""

    def __init__(self, folder, pilotd, plugins):
        self.owner = pwd.getpwnam(SERVED)
        self.state, self.config = folder + '/state', folder + '/etc/config.json'
        for path in (self.state, '/run/pilot'):
            os.mkdir(path, 0o755)
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)
        os.mkdir(folder + '/etc', 0o755)
        with open(self.config, 'w') as file:
            json.dump({'registry': '127.0.0.1:9000', 'beacon': '127.0.0.1:9001', 'hostname': 'written', 'public': False}, file)
        self.environment = {'PATH': os.environ['PATH'], 'STATE_DIRECTORY': self.state, 'HOME': self.state, 'PILOT_PLUGIN_PATH': plugins}
        self.environment |= {name: value for name, value in os.environ.items() if name.endswith('SAN_OPTIONS')}
        self.pilotd, self.process = pilotd, None

    def start(self):
        self.process = subprocess.Popen(
            [*BOUND, f'--reuid={self.owner.pw_uid}', f'--regid={self.owner.pw_gid}', '--clear-groups', self.pilotd, '--system', '--config', self.config],
            env=self.environment)
        wait_for(NAME, lambda: bus_owner(NAME) == self.owner.pw_uid, self.process)
        wait_for('registration', lambda: property_of('Node', 'State') == "'online'", self.process)

    def crash(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0, self.process.returncode


def check_changes(service):
    """What the daemon changes is kept, and not in the administrator's file, which it could not write anyway."""
    with open(service.config) as file:
        before = file.read()
    assert property_of('Node', 'Hostname') == "'written'"
    refused = call(OTHER, NAME + '.Node.SetHostname', 'mine', **NODE)
    assert refused.returncode != 0 and 'PermissionDenied' in refused.stderr, refused
    for method, value in (('SetHostname', 'changed'), ('SetPublic', 'true')):
        done = call(SERVED, f'{NAME}.Node.{method}', value, **NODE)
        assert done.returncode == 0, done
    service.stop()
    with open(service.config) as file:
        assert file.read() == before
    service.start()
    assert property_of('Node', 'Hostname') == "'changed'" and property_of('Node', 'Public') == 'true'


def check_gateway(service):
    """The daemon has no privilege: the bus starts the helper for it, and what was mapped outlives the daemon."""
    def state():
        listed = call(OTHER, NAME + '.Gateway.ListMappings', **NODE).stdout
        return listed.split("'state': <'")[1].split("'")[0] if "'10.4.0.1'" in listed else ''

    assert bus_owner(HELPER) is None
    refused = call(OTHER, NAME + '.Gateway.Start', '{}', "['0:0000.0000.0003']", **NODE)
    assert refused.returncode != 0 and 'PermissionDenied' in refused.stderr, refused
    assert bus_owner(HELPER) is None and '10.4.0.1' not in addresses()
    started = call('root', NAME + '.Gateway.Start', '{}', "['0:0000.0000.0003']", **NODE)
    assert started.returncode == 0 and "'10.4.0.1'" in started.stdout and state() == 'up', started
    assert bus_owner(HELPER) == 0 and '10.4.0.1/32' in addresses(), addresses()
    helper = helper_pid(call(SERVED, HELPER + '.Describe').stdout)

    service.crash()
    assert '10.4.0.1/32' in addresses()
    service.start()
    wait_for('mapping', lambda: state() == 'up', service.process)
    assert helper_pid(call(SERVED, HELPER + '.Describe').stdout) == helper
    stopped = call(SERVED, NAME + '.Gateway.Stop', **NODE)
    assert stopped.returncode == 0 and '10.4.' not in addresses(), (stopped, addresses())


def check_daemon(folder, pilotd, plugins, rendezvous):
    service = Service(folder, pilotd, plugins)
    registry = subprocess.Popen([*BOUND, rendezvous, '--store', folder + '/store.db', '--registry-addr', '127.0.0.1:9000', '--beacon-addr', '127.0.0.1:9001'],
                                stdout=subprocess.DEVNULL)
    try:
        service.start()
        check_changes(service)
        check_gateway(service)
        service.stop()
        assert bus_owner(NAME) is None
    finally:
        for process in (service.process, registry):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def readable(arguments):
    """The same files where every user can read them: the checkout may lie in a home that is its owner's alone."""
    build = os.path.dirname(os.path.abspath(arguments[4]))
    os.mkdir('/run/build')
    subprocess.run(['mount', '--bind', build, '/run/build'], check=True)
    return [':'.join(os.path.abspath(path).replace(build, '/run/build', 1) for path in argument.split(':')) for argument in arguments]


def main():
    if os.geteuid() != 0:
        print('1..0 # SKIP only root can make the namespaces')
        return 0
    if '--inside' not in sys.argv:
        os.execvp('unshare', ['unshare', '-n', '-m', '--propagation', 'private', sys.executable, *sys.argv, '--inside'])
    for command in (['mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', '/run'], ['ip', 'link', 'set', 'lo', 'up']):
        subprocess.run(command, check=True)
    os.mkdir('/run/dbus')
    pilotd, helper, plugins, source, build, rendezvous = readable(sys.argv[1:7])
    failed = 0
    with tempfile.TemporaryDirectory(prefix='pilot-system-bus-') as folder:
        prepare(folder, helper, source, build)
        bus = subprocess.Popen([*BOUND, 'dbus-daemon', '--nofork', '--nopidfile', '--config-file', folder + '/bus.conf'])
        try:
            wait_for('bus', lambda: os.path.exists('/run/dbus/system_bus_socket'), bus)
            tests = (('user', lambda: check_user(helper)), ('helper', check_helper), ('names', check_names), ('daemon', lambda: check_daemon(folder, pilotd, plugins, rendezvous)))
            print(f'1..{len(tests)}')
            for number, (name, test) in enumerate(tests, 1):
                try:
                    test()
                    print(f'ok {number} {name}', flush=True)
                except (AssertionError, OSError, subprocess.SubprocessError) as error:
                    failed += 1
                    print(f'not ok {number} {name}\n# ' + str(error).replace('\n', '\n# '), flush=True)
        finally:
            bus.terminate()
            bus.wait()
    return 1 if failed else 0


sys.exit(main())
