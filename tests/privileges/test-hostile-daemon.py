#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Root's pilotctl and a user's side that lies: a false daemon, a false message bus, files, links and variables of the user's.

What root believes stands in docs/privileges.md; each line of its table about pilotctl has a case here, with a lie in it. As root only.

test-hostile-daemon.py PILOTCTL FALSE-DAEMON
"""
import concurrent.futures
import ctypes
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

PILOTCTL, FALSE_DAEMON = sys.argv[1:3]
# Who lies, and who shall not suffer for it. Nobody has these numbers.
LIAR, OTHER = 54321, 54322
ESCAPE = r"\u001b]0;owned\u0007\u009b2J"
PATIENCE = 60
CLONE_NEWNET, CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x40000000, 0x20000, 0x4000, 1 << 18


class World:
    """A home of the liar's, and what runs in it."""

    def __init__(self, top):
        self.top = pathlib.Path(tempfile.mkdtemp(dir=top))
        self.top.chmod(0o755)
        self.home = self.folder("home", LIAR)
        self.state = self.folder("home/.pilot", LIAR)
        self.bus = self.state / "bus"
        self.ran = self.top / "ran"
        self.recorder = self.program("recorder", f'#!/bin/sh\necho "$@" >>{self.ran}\n')
        self.processes = []

    def folder(self, name, uid, mode=0o755):
        path = self.top / name
        path.mkdir(parents=True)
        path.chmod(mode)
        os.chown(path, uid, uid)
        return path

    def file(self, path, text, uid):
        path = self.top / path
        path.write_text(text)
        path.chmod(0o600)
        os.chown(path, uid, uid)
        return path

    def program(self, name, text):
        path = self.top / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def daemon(self, *script, path=None, uid=LIAR):
        """Answers on a socket. The kernel takes it for @uid's; its process, that is this one, is root's."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path or self.bus))
        os.chown(path or self.bus, uid, uid)
        os.seteuid(uid)
        listener.listen(8)
        os.seteuid(0)
        process = subprocess.Popen([FALSE_DAEMON, str(listener.fileno())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[listener.fileno()])
        self.processes.append(process)
        listener.close()
        process.stdin.write("\n".join(script) + "\n")
        process.stdin.close()
        assert process.stdout.readline() == "ready\n", "the script is wrong: see above"

    def victim(self):
        """A process of root's that is called as a daemon is."""
        program = self.top / "pilotd"
        if not program.exists():
            shutil.copy(shutil.which("sleep"), program)
        process = subprocess.Popen([program, "600"])
        self.processes.append(process)
        return process

    def environment(self, sudo):
        environment = {"PATH": "/nonexistent", "HOME": str(self.home), "PILOT_HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home), "LC_ALL": "C.UTF-8",
                       "TZ": "UTC", "G_DEBUG": "fatal-criticals", "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}
        environment |= {"SUDO_UID": str(LIAR)} if sudo else {"PILOT_HELPER_BIN": str(self.recorder)}
        return environment | {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS") or name == "LD_LIBRARY_PATH"}

    def run(self, *argv, sudo=True, **variables):
        done = subprocess.run([PILOTCTL, *argv], env=self.environment(sudo) | variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode in (0, 1), f"pilotctl {' '.join(argv)} ended with {done.returncode}: {done.stderr!r}"
        return done

    def refused(self, code, *argv, **options):
        """The error as an object."""
        done = self.run("--json", *argv, **options)
        error = json.loads(done.stderr.splitlines()[-1]) if done.stderr else {}
        assert done.returncode == 1 and error.get("code") == code, f"pilotctl {' '.join(argv)}: {done.returncode}, {done.stdout!r}, {done.stderr!r}"
        return error

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


CASES = []


def case(title):
    def add(function):
        CASES.append((title, function))
        return function
    return add


@case("who takes a connection and says nothing keeps root for seconds")
def silent(world):
    world.daemon("mute: yes")
    process = subprocess.Popen([PILOTCTL, "--json", "info"], env=world.environment(True), stderr=subprocess.PIPE)

    def finish():
        errors = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 1 and json.loads(errors)["code"] == "not_running", errors
    return finish


@case("a message bus of the user's that says nothing keeps root for seconds")
def silent_bus(world):
    world.daemon("mute: yes", path=world.home / "session")
    process = subprocess.Popen([PILOTCTL, "--json", "info"], env=world.environment(True) | {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={world.home}/session"},
                               stderr=subprocess.PIPE)

    def finish():
        errors = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 1 and json.loads(errors)["code"] == "not_running", errors
    return finish


COMMANDS = """info|peers|connections|pending|pending --outgoing|trust|approve 2|reject 2|untrust 2|expose 2|unexpose 2|find x|set-hostname x|clear-hostname|set-public|
set-private|ping 2 --count 1|ping name --count 1|traceroute 2|bench 2 1|connect 2 80|send 2 80 --data x|recv 80 --count 1|dgram 2 80 --data x|listen 80 --count 1|
send-message 2 --data x|send-file 2 /etc/passwd|inbox|received|subscribe 2 t --count 1|publish 2 t --data x|plugins|gateway list|gateway map 2|gateway unmap 10.4.0.1|
gateway stop|gateway start 2 --subnet 10.9.0.0/16|netcheck|handshake 2|daemon status""".replace("\n", "").split("|")
# One record with each key that some command reads, of a type that none of them has for it, or with what a terminal obeys.
WRONG = "{" + ", ".join(f"'{key}': <{value}>" for key, value in {
    "node_id": "'x'", "address": "uint32 5", "hostname": "[1, 2]", "state": "true", "ports": "'80'", "uid": "'root'", "local_ip": "1.5", "last_seen": "'x'",
    "rtt_ms": "'x'", "received_at": "'x'", "sent_at": "true", "name": "@as []", "id": "'x'", "bytes_sent": "-1", "transports": "'x'", "beacon": "5", "open": "'x'"}.items()) + "}"
LISTS = ("Node.ListPeers", "Node.ListConnections", "Node.ListPending", "Node.ListOutgoing", "Node.ListTrusted", "Plugins.List", "Gateway.ListMappings", "Gateway.Start",
         "Messages.ListTransfers")
DICTS = ("Node.GetStatistics", "Node.NetCheck", "Gateway.Map", "Messages.SendMessage")


def run_all(world, commands, *options):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda command: world.run(*command.split(), *options, "--bus", str(world.bus), sudo=False), commands))


@case("answers of another type than the interface states: an error for every command, none of them crashes")
def types(world):
    world.daemon("*: (<'x'>, @aa{sv} [])", "*property: <@aa{sv} []>", "Node.Pid: <uint32 1>")
    for command, done in zip(COMMANDS, run_all(world, COMMANDS)):
        assert done.returncode == 1 or command == "daemon status", f"{command}: {done.stdout!r}"


@case("a process id that is none: no daemon")
def pid_type(world):
    world.daemon("*: ()", "*property: <'x'>")
    world.refused("not_running", "info")


@case("records with values of other types: shown as nothing")
def records(world):
    world.daemon(*(f"{name}: ([{WRONG}],)" for name in LISTS), *(f"{name}: ({WRONG},)" for name in DICTS), "Gateway.Active: <true>", "Node.Pid: <uint32 1>",
                 "Node.NodeId: <uint32 1>", "*property: <''>", "Messages.Receiving: <true>")
    commands = ["peers", "connections", "pending", "pending --outgoing", "trust", "plugins", "gateway list", "gateway map 2", "netcheck", "daemon status"]
    for command, done in zip(commands, run_all(world, commands)):
        assert done.returncode == 0 or command == "netcheck", f"{command}: {done.stderr!r}"


@case("what a terminal obeys is not passed on, as text or as JSON")
def terminal(world):
    text = f"'{ESCAPE}'"
    record = "{" + ", ".join(f"'{key}': <{text}>" for key in ("address", "hostname", "state", "local_ip", "pilot_addr", "name", "kind", "path", "justification", "detail",
                                                              "remote_addr", "last_error", "access", "endpoint", "public_key", "description", "file", "error")) + "}"
    world.daemon(*(f"{name}: ([{record}],)" for name in LISTS), *(f"{name}: ({record},)" for name in DICTS), f"Node.Resolve: (uint32 2, {text}, {text}, true)",
                 f"Node.Approve: ({text},)", "Gateway.Active: <true>", "Node.Pid: <uint32 1>", "Node.NodeId: <uint32 1>", "Node.Public: <true>",
                 "Node.Started: <int64 1>", "Messages.Receiving: <true>", f"*property: <{text}>")
    commands = ["peers", "connections", "pending", "trust", "plugins", "gateway list", "gateway map 2", "netcheck", "daemon status", "find x", "approve 2", "info"]
    for options in ([], ["--json"]):
        for command, done in zip(commands, run_all(world, commands, *options)):
            shown = (done.stdout + done.stderr).decode()
            assert "owned" in shown or command in ("netcheck", "info"), f"{command} shows nothing of it: nothing is tested: {shown!r}"
            assert not any(ord(c) < 32 and c not in "\n\t" or 127 <= ord(c) < 160 for c in shown), f"{command}: {shown!r}"


@case("a subnet that the daemon says it has is not served, and is no text for a shell")
def subnet(world):
    for said, code, hint in (("10.9.0.0/16", "10.9.0.0/16", True), ("10.9.0.0/16; rm -rf /", "no subnet", False), ("127.0.0.0/8 x", "no subnet", False)):
        world.daemon("Gateway.Active: <true>", f"Gateway.Subnet: <'{said}'>", "Node.Pid: <uint32 1>", "Gateway.Start: (@aa{sv} [],)")
        error = world.refused("invalid_argument", "gateway", "start", "2", "--bus", str(world.bus), sudo=False)
        assert code in error["message"] and (said in error.get("hint", "")) == hint and ";" not in error.get("hint", ""), error
        world.bus.unlink()
    assert not world.ran.exists(), "the helper was started"


@case("the helper serves whom the kernel says, whatever the daemon calls itself")
def user(world):
    world.daemon("Gateway.Active: <false>", "Gateway.Subnet: <''>", "Node.Pid: <uint32 1>", "Node.Uid: <uint32 0>", "Gateway.Start: (@aa{sv} [],)")
    world.run("gateway", "start", "2", "--bus", str(world.bus), sudo=False)
    assert world.ran.read_text() == f"--uid {LIAR} --subnet 10.4.0.0/16\n", world.ran.read_text()


@case("a socket of the user's that leads to another one's daemon: refused, unless it is named")
def other_daemon(world):
    elsewhere = world.folder("other", OTHER) / "bus"
    world.daemon("Node.Pid: <uint32 1>", "Node.Resolve: (uint32 2, 'a', 'b', true)", path=elsewhere, uid=OTHER)
    world.bus.symlink_to(elsewhere)
    error = world.refused("conflict", "find", "x")
    assert str(OTHER) in error["message"] and str(world.bus) in error["message"], error
    world.refused("conflict", "find", "x", PILOT_BUS=str(elsewhere))
    assert world.run("find", "x", "--bus", str(elsewhere)).returncode == 0


@case("a process that is not the user's is not ended: neither by the socket's word nor by the file's, nor by a link")
def processes(world):
    victim = world.victim()
    # Who called listen() is this process, which is root's, in the name of the user: as when a number was given away again.
    world.daemon("Node.Pid: <uint32 1>")
    assert str(os.getpid()) in world.refused("permission_denied", "daemon", "stop")["message"]
    world.bus.unlink()
    pid_file = world.file("home/.pilot/pilot.pid", f"{victim.pid}\n", LIAR)
    world.refused("not_running", "daemon", "stop")
    pid_file.unlink()
    pid_file.symlink_to(world.file("root.pid", f"{victim.pid}\n", 0))
    world.refused("not_running", "daemon", "stop")
    assert victim.poll() is None, "it was ended"
    # It can be: root's own file, root's own process.
    pid_file.unlink()
    world.file("home/.pilot/pilot.pid", f"{victim.pid}\n", 0)
    assert world.run("daemon", "stop").returncode == 0 and victim.wait(PATIENCE) != 0


@case("a message bus of the user's that lies about who is on it")
def false_bus(world):
    victim, address = world.victim(), world.home / "session"
    world.daemon("DBus.Hello: (':1.1',)", "DBus.AddMatch: ()", "DBus.RemoveMatch: ()", "DBus.GetConnectionUnixUser: (uint32 0,)",
                 f"DBus.GetConnectionUnixProcessID: (uint32 {victim.pid},)", "Node.Pid: <uint32 1>", "Gateway.Active: <false>", "Gateway.Start: (@aa{sv} [],)", path=address)
    variables = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={address}", "sudo": False}
    world.refused("permission_denied", "daemon", "stop", "--bus", "session", **variables)
    assert victim.poll() is None, "it was ended"
    world.run("gateway", "start", "2", "--bus", "session", **variables)
    assert world.ran.read_text() == f"--uid {LIAR} --subnet 10.4.0.0/16\n", world.ran.read_text()
    variables["DBUS_SYSTEM_BUS_ADDRESS"] = variables.pop("DBUS_SESSION_BUS_ADDRESS")
    world.refused("permission_denied", "daemon", "stop", "--bus", "system", **variables)


@case("messages and files are read and deleted as the daemon's user: another's, and root's, are safe")
def mailbox(world):
    own = world.folder("own", LIAR)
    for owner, state in ((OTHER, world.folder("state", OTHER, 0o700)), (0, world.folder("root", 0)), (LIAR, own)):
        for name in ("inbox", "received"):
            world.folder(f"{state.name}/{name}", owner)
            world.file(f"{state.name}/{name}/x.json", '{"type": "TEXT", "data": "secret"}', owner)
    (own / "inbox/x.json").unlink()
    (own / "inbox").rmdir()
    (own / "inbox").symlink_to(world.top / "state/inbox")
    for state in ("state", "root", "own"):
        world.daemon("Node.Pid: <uint32 1>", f"Messages.Folder: <'{world.top / state}'>")
        for words in (["inbox", "--full"], ["inbox", "read", "x"], ["inbox", "--clear"], ["received", "--clear"]):
            done = world.run(*words)
            assert b"secret" not in done.stdout + done.stderr, f"{words}: {done.stdout!r}"
        world.bus.unlink()
    left = sorted(str(path.relative_to(world.top)) for path in world.top.rglob("x.json"))
    assert left == ["root/inbox/x.json", "root/received/x.json", "state/inbox/x.json", "state/received/x.json"], left


@case("a descriptor that is no socket is not used")
def descriptor(world):
    file = world.file("file", "as it was", 0)
    world.daemon("Node.Pid: <uint32 1>", "Streams.Listen: ()", "Streams.Accept: (uint32 2, uint16 80, handle 0, true)", f"Streams.Accept@ {file}",
                 "Streams.OpenDatagrams: (handle 0, uint16 80)", f"Streams.OpenDatagrams@ {file}")
    for words in (["recv", "80", "--count", "1"], ["listen", "80", "--count", "1"]):
        assert "no socket" in world.refused("internal", *words)["message"]
    assert file.read_text() == "as it was"


@case("the environment of who calls sudo names no program that root runs")
def programs(world):
    world.run("gateway", "stop", PILOT_HELPER_BIN=str(world.recorder))
    world.refused("not_found", "daemon", "start", PILOT_DAEMON_BIN=str(world.recorder))
    # GLib's way to start a message bus.
    launcher = world.folder("launcher", LIAR) / "dbus-launch"
    launcher.symlink_to(world.recorder)
    world.refused("not_running", "info", "--bus", "session", DBUS_SESSION_BUS_ADDRESS="autolaunch:", DISPLAY=":0", PATH=str(launcher.parent))
    assert not world.ran.exists(), world.ran.read_text()


@case("root reads and writes nothing in a folder of the user's, where a link may stand in the way")
def folders(world):
    target = world.file("target", "{}", 0)
    for name in ("pilot-starting.log", "config.json", "pilot.pid"):
        (world.state / name).symlink_to(target)
    program = str(world.program("pilotd", "#!/bin/sh\nexit 1\n"))
    for words in (["config"], ["config", "--set", "hostname=x"], ["init", "--hostname", "x"], ["daemon", "start"]):
        error = world.refused("permission_denied", *words, PATH=os.path.dirname(program))
        assert str(LIAR) in error["message"], error
    assert target.read_text() == "{}"


def hide_own():
    """What root's pilotctl ends or forgets here is not this machine's."""
    libc, own = ctypes.CDLL(None, use_errno=True), os.path.expanduser("~root/.pilot")
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        return False
    return not os.path.exists(own) or libc.mount(b"tmpfs", own.encode(), b"tmpfs", 0, None) == 0


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root: it is root who is lied to")
        return 77
    if not hide_own():
        print("1..0 # SKIP cannot have a network and mounts of its own")
        return 77
    print(f"1..{len(CASES)}")
    with tempfile.TemporaryDirectory(prefix="privileges-") as top:
        os.chmod(top, 0o755)
        return 0 if run_cases(top) else 1


def attempt(function, *arguments):
    """What the function returns, or the error it ended with."""
    try:
        return function(*arguments)
    except (AssertionError, OSError, subprocess.SubprocessError, ValueError) as error:
        return error


def run_cases(top):
    """What a case returns is called when all have run: it waits for something, and the others need not."""
    results, worlds, rest = [], [], []

    def report(title, error):
        results.append(error is None)
        print(f"{'ok' if error is None else 'not ok'} {len(results)} - {title}", flush=True)
        if error is not None:
            print(f"# {str(error)[:2000]!r}", flush=True)

    try:
        for title, function in CASES:
            worlds.append(World(top))
            result = attempt(function, worlds[-1])
            if callable(result):
                rest.append((title, result))
            else:
                report(title, result)
        for title, finish in rest:
            report(title, attempt(finish))
    finally:
        for world in worlds:
            world.close()
    return all(results)


sys.exit(main())
