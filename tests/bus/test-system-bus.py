# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service of the machine: our bus policies and the activation file in a system bus of its own, pilotd and pilot-helper on it.

test-system-bus.py PILOTD PILOT-HELPER PLUGIN_PATH DATA_SOURCE DATA_BUILD. Needs root: network and mount namespace of its own, so that the
bus is where every program looks for it and the host's addresses are not touched.
"""
import os
import pwd
import subprocess
import sys
import tempfile
import time

NAME = 'network.pilotprotocol.Pilot1'
HELPER = NAME + '.Helper'
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
    return subprocess.run(['setpriv', f'--reuid={entry.pw_uid}', f'--regid={entry.pw_gid}', '--clear-groups', *command],
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


def check_gateway(node):
    """The daemon has no privilege: it is the bus that starts the helper for it."""
    assert bus_owner(HELPER) is None
    refused = call(OTHER, NAME + '.Gateway.Start', '{}', "['0:0000.0000.0003']", **node)
    assert refused.returncode != 0 and 'PermissionDenied' in refused.stderr, refused
    assert bus_owner(HELPER) is None and '10.4.0.1' not in addresses()
    started = call('root', NAME + '.Gateway.Start', '{}', "['0:0000.0000.0003']", **node)
    assert started.returncode == 0 and "'10.4.0.1'" in started.stdout and "'up'" in started.stdout, started
    assert bus_owner(HELPER) == 0 and '10.4.0.1/32' in addresses(), addresses()
    stopped = call(SERVED, NAME + '.Gateway.Stop', **node)
    assert stopped.returncode == 0 and '10.4.' not in addresses(), (stopped, addresses())


def check_daemon(folder, pilotd, plugins):
    entry = pwd.getpwnam(SERVED)
    state = folder + '/state'
    os.mkdir(state, 0o700)
    os.chown(state, entry.pw_uid, entry.pw_gid)
    environment = {'PATH': os.environ['PATH'], 'STATE_DIRECTORY': state, 'HOME': state, 'PILOT_PLUGIN_PATH': plugins}
    daemon = subprocess.Popen(
        ['setpriv', f'--reuid={entry.pw_uid}', f'--regid={entry.pw_gid}', '--clear-groups', pilotd, '--system', '--config', folder + '/none.json',
         '--registry', '127.0.0.1:1', '--beacon', '127.0.0.1:2', '--bus', state + '/bus'], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(NAME, lambda: bus_owner(NAME) == entry.pw_uid, daemon)
        node = dict(dest=NAME, path='/network/pilotprotocol/Pilot1')
        state_of = call(OTHER, 'org.freedesktop.DBus.Properties.Get', NAME + '.Node', 'State', **node)
        assert state_of.returncode == 0 and "'connecting'" in state_of.stdout, state_of
        refused = call(OTHER, NAME + '.Node.SetHostname', 'mine', **node)
        assert refused.returncode != 0 and 'PermissionDenied' in refused.stderr, refused
        check_gateway(node)
    finally:
        daemon.terminate()
        _, log = daemon.communicate(timeout=30)
    assert daemon.returncode == 0, log


def main():
    if os.geteuid() != 0:
        print('1..0 # SKIP only root can make the namespaces')
        return 0
    if '--inside' not in sys.argv:
        os.execvp('unshare', ['unshare', '-n', '-m', '--propagation', 'private', sys.executable, *sys.argv, '--inside'])
    pilotd, helper, plugins, source, build = sys.argv[1:6]
    pilotd, helper = os.path.abspath(pilotd), os.path.abspath(helper)
    for command in (['mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', '/run'], ['ip', 'link', 'set', 'lo', 'up']):
        subprocess.run(command, check=True)
    os.mkdir('/run/dbus')
    failed = 0
    with tempfile.TemporaryDirectory(prefix='pilot-system-bus-') as folder:
        prepare(folder, helper, source, build)
        bus = subprocess.Popen(['dbus-daemon', '--nofork', '--nopidfile', '--config-file', folder + '/bus.conf'])
        try:
            wait_for('bus', lambda: os.path.exists('/run/dbus/system_bus_socket'), bus)
            tests = (('helper', check_helper), ('names', check_names), ('daemon', lambda: check_daemon(folder, pilotd, plugins)))
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
