# SPDX-License-Identifier: LGPL-2.1-or-later
"""A world of the lab: the internet segment, NAT routers, hosts, and the programs of a build inside them.

Everything lives below one process, the world's first: to kill it takes down every host, link, mount and rule. Nothing is done to the
machine outside but a folder below /run/pilot-lab.

    net 192.0.2.1 ──┐                      ┌── alpha 192.168.71.2
                    ├── inet0 ── router ───┤
    beta ── router ─┘   (192.0.2.11 …)     └── neighbour 192.168.71.9, which routes 10.4.0.0/16 through alpha
"""

import fcntl
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from . import nat
from .namespace import LabError, Namespace, kill_and_wait, only_child, run, start_time

STATE = "/run/pilot-lab"
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
UID, OTHER_UID = 1000, 1001
USERS = {"user": UID, "other": OTHER_UID, "root": 0}
RESERVED = ("net", "internet", "neighbour")
MOST_HOSTS = 16
REGISTRY, BEACON = "192.0.2.1:9000", "192.0.2.1:9001"
SUBNET = "10.4.0.0/16"
WIRE_OPTIONS = ("delay", "jitter", "loss", "burst", "reorder", "rate", "queue", "seed")


def wait_until(condition, seconds, what, every=0.1):
    """Asks until the answer is true; raises LabError after so many seconds. Answers what the condition answered."""
    until = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > until:
            raise LabError(f"{what}: not within {seconds} s")
        time.sleep(every)


def check_name(name):
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,15}", name):
        raise LabError(f"“{name}” is no name for a world: use at most 16 of a-z, 0-9 and -")


def check_hosts(hosts, lans):
    """Host names become names of devices, and each has its own addresses."""
    for host in hosts:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,8}", host) or host in RESERVED:
            raise LabError(f"“{host}” is no name for a host: use at most 9 of a-z, 0-9 and -, and none of {', '.join(RESERVED)}")
    if len(hosts) > MOST_HOSTS or len(set(hosts)) != len(hosts):
        raise LabError(f"{len(hosts)} hosts: each once, and at most {MOST_HOSTS}")
    for host, owner in lans.items():
        if host not in hosts or owner not in hosts or owner in lans or hosts.index(owner) > hosts.index(host):
            raise LabError(f"“{host}” cannot stand behind the router of “{owner}”: name a host before it that has a router of its own")


def find_build(build=None):
    """The build folder to take the programs from: named, $PILOT_BUILD, or the usual one of the checkout."""
    build = build or os.environ.get("PILOT_BUILD") or os.path.join(SOURCE, "_build")
    build = os.path.abspath(build)
    if not os.path.exists(os.path.join(build, "build.ninja")):
        demo = os.path.join(SOURCE, "_build", "demo")
        there = f": that of tools/demo is “{demo}”" if os.path.exists(os.path.join(demo, "build.ninja")) else ""
        raise LabError(f"“{build}” is not a build folder: run “meson setup {build} {SOURCE} && ninja -C {build}”, or name one with --build{there}")
    return build


def build_folders(build):
    """Where a build is to be installed: its prefix, and its libraries."""
    options = {option["name"]: option["value"] for option in json.loads(run(["meson", "introspect", "--buildoptions", build]))}
    return options["prefix"], os.path.join(options["prefix"], options["libdir"])


def _port(name):
    """The device of a switch that leads to a namespace: a name of at most 15 bytes."""
    return "to-" + name.replace("router-", "r-")


def _ancestor(path):
    """The nearest folder above (or at) a path that exists here."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


class World:
    def __init__(self, name="lab"):
        check_name(name)
        self.name = name
        self.folder = os.path.join(STATE, name)
        self.state = None

    # --- state ---------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _lock(self):
        os.makedirs(STATE, mode=0o755, exist_ok=True)
        with open(self._lock_path(), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _lock_path(self):
        return os.path.join(STATE, f".{self.name}.lock")

    def _save(self):
        path = os.path.join(self.folder, "world.json")
        with open(path + ".new", "w", encoding="utf-8") as out:
            json.dump(self.state, out, indent=2)
        os.replace(path + ".new", path)

    def load(self):
        """Reads the state of a world that is up; LabError when it is not."""
        try:
            with open(os.path.join(self.folder, "world.json"), encoding="utf-8") as file:
                self.state = json.load(file)
        except FileNotFoundError:
            raise LabError(f"no world “{self.name}” is up: run “tools/lab --name {self.name} up”") from None
        if not self.state.get("complete"):
            raise LabError(f"the world “{self.name}” was not set up to the end: run “tools/lab --name {self.name} down”")
        return self

    def namespace(self, host):
        found = self.state["namespaces"].get(host)
        if found is None:
            raise LabError(f"no host “{host}” in the world “{self.name}”: it has {', '.join(sorted(self.state['namespaces']))}")
        return Namespace(found["pid"], found["started"])

    def _remember(self, name, namespace):
        self.state["namespaces"][name] = {"pid": namespace.pid, "started": namespace.started}
        self._save()

    # --- up and down ---------------------------------------------------------------------------------------------------------------

    def up(self, build=None, hosts=("alpha", "beta"), nats=None, lans=None, daemons=True):
        """Sets the world up. `nats`: host → kind of its router. `lans`: host → another host, behind whose router it stands. After a failure
        nothing of it is left."""
        nats = dict(nats or {})
        if os.geteuid() != 0:
            raise LabError("the lab makes namespaces: run it with sudo")
        lans = dict(lans or {})
        check_hosts(hosts, lans)
        for host, kind in nats.items():
            if host not in hosts or kind not in nat.KINDS:
                raise LabError(f"--nat {host}={kind}: HOST is one of {', '.join(hosts)}, the kind one of {', '.join(nat.KINDS)}")
        build = find_build(build)
        with self._lock():
            if os.path.exists(self.folder):
                raise LabError(f"a world “{self.name}” is there already: run “tools/lab --name {self.name} down” first")
            os.makedirs(self.folder, mode=0o755)
            prefix, libraries = build_folders(build)
            self.state = {"build": build, "prefix": prefix, "libraries": libraries, "namespaces": {}, "hosts": list(hosts), "nats": {}, "lans": {}, "wires": {},
                          "complete": False}
            self._save()
            try:
                self._install()
                self._make_internet()
                self._make_host("net", "192.0.2.1", None)
                self._link("net", "eth0", "192.0.2.1/24", None)
                for index, host in enumerate(hosts):
                    if host in lans:
                        self._join_lan(index, host, lans[host])
                    else:
                        self._make_lan(index, host, nats.get(host, "port-restricted"))
                self.state["complete"] = True
                self._save()
                if daemons:
                    self.start_rendezvous()
                    for host in hosts:
                        self.start_daemon(host)
            except BaseException:
                if not os.environ.get("PILOT_LAB_KEEP"):
                    self._down()
                    os.unlink(self._lock_path())
                raise
        return self

    def down(self):
        """Ends everything in the world and removes its folder; also what a crashed up left."""
        with self._lock():
            if not os.path.exists(self.folder):
                os.unlink(self._lock_path())
                raise LabError(f"no world “{self.name}” is up")
            self._down()
            os.unlink(self._lock_path())

    def _down(self):
        try:
            with open(os.path.join(self.folder, "world.json"), encoding="utf-8") as file:
                state = json.load(file)
        except (FileNotFoundError, ValueError):
            state = {}
        for key in ("root", "launcher"):
            if key in state:
                kill_and_wait(state[key]["pid"], state[key]["started"])
        shutil.rmtree(self.folder)

    def _install(self):
        """What `meson install` would put on a machine goes into a folder of this world, which the hosts see in its right place."""
        run(["meson", "install", "--quiet", "--no-rebuild", "-C", self.state["build"], "--destdir", os.path.join(self.folder, "stage")])

    def _make_internet(self):
        def on_start(pid):
            self.state["launcher"] = {"pid": pid, "started": start_time(pid)}
            self._save()

        internet = Namespace.create("hostname internet\n" + _NO_IPV6, on_start=on_start)
        self.state["root"] = {"pid": internet.pid, "started": internet.started}
        self._remember("internet", internet)
        internet.ip("link set lo up\nlink add inet0 type bridge\nlink set inet0 up\n")

    def router_of(self, host):
        """The name of the router that a host stands behind."""
        return f"router-{self.state['lans'].get(host, host)}"

    def _lan(self, owner):
        """Network and length of the LAN behind the router of a host."""
        index = self.state["hosts"].index(owner)
        return (f"203.0.113.{16 * index}", 28) if self.state["nats"][owner] == "none" else (f"192.168.{71 + index}.0", 24)

    def lan_address(self, owner, number):
        """The address with this number in the LAN behind the router of a host, without its length."""
        base, _, last = self._lan(owner)[0].rpartition(".")
        return f"{base}.{int(last) + number}"

    def outside_address(self, host):
        """Where the internet sees what the router of this host translates."""
        return f"192.0.2.{11 + self.state['hosts'].index(self.state['lans'].get(host, host))}"

    def _make_lan(self, index, host, kind):
        self.state["nats"][host] = kind
        outside, (lan, length) = self.outside_address(host), self._lan(host)
        gateway, address, neighbour = (self.lan_address(host, n) for n in (1, 2, 9))

        router = Namespace.create(f"hostname router-{host}\n" + _NO_IPV6 + "echo 1 >/proc/sys/net/ipv4/ip_forward\n"
                                  + "echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects\n" + _NO_BRIDGE_FILTER,
                                  parent=self.namespace("internet"))
        self._remember(f"router-{host}", router)
        self._link(f"router-{host}", "out0", f"{outside}/24", None)
        router.ip(f"link set lo up\nlink add lan0 type bridge\nlink set lan0 up\naddr add {gateway}/{length} dev lan0\n")
        if kind == "none":
            # Everybody on the internet knows the way to an address that is not translated.
            for name in list(self.state["namespaces"]):
                if name == "net" or (name.startswith("router-") and name != f"router-{host}"):
                    self.namespace(name).ip(f"route add {lan}/{length} via {outside}\n")
        for other, other_kind in self.state["nats"].items():
            if other != host and other_kind == "none":
                i = self.state["hosts"].index(other)
                router.ip(f"route add 203.0.113.{16 * i}/28 via 192.0.2.{11 + i}\n")
        if kind != "none":
            router.nft(nat.rules(kind, outside))

        self._make_host(host, address, gateway)
        self._link(host, "eth0", f"{address}/{length}", gateway, switch=f"router-{host}")
        if host == "alpha":
            self._make_host("neighbour", neighbour, gateway)
            self._link("neighbour", "eth0", f"{neighbour}/{length}", gateway, switch=f"router-{host}")
            self.namespace("neighbour").ip(f"route add {SUBNET} via {address}\n")

    def _join_lan(self, index, host, owner):
        """Another host behind the router of the first."""
        self.state["lans"][host] = owner
        address, length = self.lan_address(owner, 2 + index - self.state["hosts"].index(owner)), self._lan(owner)[1]
        self._make_host(host, address, self.lan_address(owner, 1))
        self._link(host, "eth0", f"{address}/{length}", self.lan_address(owner, 1), switch=f"router-{owner}")

    def move(self, host, owner):
        """Takes the cable of a host out of its LAN and plugs it into that of another host's router, where it has another address."""
        with self._lock():
            address, length = self.lan_address(owner, 12), self._lan(owner)[1]
            self.namespace(host).ip("link del eth0\n")
            self._link(host, "eth0", f"{address}/{length}", self.lan_address(owner, 1), switch=f"router-{owner}")
            self.state["lans"][host] = owner
            self._save()

    def rebind(self, host):
        """The router of a host gives its flows other outside ports from now on."""
        router = self.namespace(self.router_of(host))
        owner = self.state["lans"].get(host, host)
        router.nft(nat.rebind_rules(self.lan_address(owner, 2)))
        run(router.enter("net") + ["conntrack", "-F"])

    def isolate(self, owner):
        """The switch behind the router of this host carries nothing between its ports any more, as in a guest network: only to the router."""
        router = self.namespace(f"router-{owner}")
        for host in (owner, *(guest for guest, at in self.state["lans"].items() if at == owner)):
            router.ip(f"link set {_port(host)} type bridge_slave isolated on\n")

    def _link(self, name, device, address, gateway, switch="internet"):
        """A cable from a namespace to a switch: the internet segment or the LAN of a router."""
        port = _port(name)
        bridge = "inet0" if switch == "internet" else "lan0"
        namespace, at = self.namespace(name), self.namespace(switch)
        at.ip(f"link add {port} type veth peer name {device} netns {namespace.pid}\nlink set {port} master {bridge}\nlink set {port} up\n")
        namespace.ip(f"link set lo up\naddr add {address} dev {device}\nlink set {device} up\n"
                     + (f"route add default via {gateway}\n" if gateway else ""))

    @contextmanager
    def cable(self, one, other):
        """While the block runs two hosts reach each other's address over one veth pair, past switches and routers. LabError when what they said meanwhile went another way."""
        ends = [self.namespace(host) for host in (one, other)]
        addresses = [self.run(host, "hostname", "-I").stdout.split()[0] for host in (one, other)]
        ends[0].ip(f"link add cable0 type veth peer name cable0 netns {ends[1].pid}\n")

        def count(device):
            return sum(int(self.run(one, "cat", f"/sys/class/net/{device}/statistics/{way}_bytes").stdout) for way in ("rx", "tx"))
        try:
            for end, own, far in zip(ends, addresses, reversed(addresses)):
                end.ip(f"link set cable0 up\nroute add {far}/32 dev cable0 src {own}\n")
            # Both ends are up a moment later, and the first packet waits for ARP: a port that refuses has answered over the cable.
            wait_until(lambda: self.run(one, "python3", "-c", _REFUSED, addresses[1], check=False).returncode == 0, 10,
                       f"{other} answers {one} over the cable")
            before = count("eth0")
            yield
            if count("cable0") < 10 * (count("eth0") - before):
                raise LabError(f"{one} and {other} do not talk over the cable between them")
        finally:
            ends[0].ip("link del cable0\n")

    def _make_host(self, name, address, gateway):
        files = os.path.join(self.folder, "hosts", name)
        os.makedirs(files)
        for file, text in _etc(name, address, self._path()).items():
            with open(os.path.join(files, file), "w", encoding="utf-8") as out:
                out.write(text)
        prefix = self.state["prefix"]
        below = _ancestor(prefix)
        staged = self.folder + "/stage" + below
        install = f"mount -t overlay -o ro,lowerdir={staged}:{below} overlay {below}\n" if os.path.isdir(staged) else ""
        namespace = Namespace.create(_HOST_SETUP.format(name=name, no_ipv6=_NO_IPV6_LINKS, scratch=shlex.quote(files),
                                                        install=install, libraries=self.state["libraries"], uid=UID, other=OTHER_UID),
                                     parent=self.namespace("internet"))
        self._remember(name, namespace)

    # --- inside a host -------------------------------------------------------------------------------------------------------------

    def _path(self):
        prefix = self.state["prefix"]
        return f"{prefix}/bin:{prefix}/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def command(self, host, argv, user="user"):
        """The words that run a command inside a host as one of its users, in his home. It ends when the caller of it ends."""
        namespace = self.namespace(host)
        if not namespace.alive():
            raise LabError(f"the world “{self.name}” has ended: run “tools/lab --name {self.name} down”")
        if user not in USERS:
            raise LabError(f"no user “{user}” in the lab: {', '.join(USERS)}")
        if host == "internet" or host.startswith("router-"):
            user = "root"
        uid, home = USERS[user], "/root" if user == "root" else f"/home/{user}"
        if not os.path.exists(os.path.join(self.folder, "hosts", host)):
            home = "/"
        environment = {"PATH": self._path(), "HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", "LANG": "C.UTF-8",
                       "TERM": os.environ.get("TERM", "dumb"), "XDG_RUNTIME_DIR": f"/run/user/{uid}"}
        if user == "root":
            del environment["XDG_RUNTIME_DIR"]
        words = namespace.enter() + ["env", "-i"] + [f"{name}={value}" for name, value in environment.items()]
        words += ["setpriv", "--pdeathsig", "TERM"]
        if user != "root":
            words += ["--reuid", str(uid), "--regid", str(uid), "--init-groups"]
        return words + ["--", "/bin/sh", "-c", 'cd && exec "$@"', "sh"] + list(argv)

    def run(self, host, *argv, user="user", stdin=None, timeout=60, check=True):
        """Runs a command inside a host and answers the finished process, its output as text."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        done = subprocess.run(self.command(host, argv, user), input=stdin if stdin is not None else b"", timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        done.stdout, done.stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode != 0:
            raise LabError(f"{host}$ {shlex.join(argv)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-600:]}")
        return done

    def spawn(self, host, *argv, user="user", **kwargs):
        """Starts a command inside a host; the caller ends it, or it ends with the world."""
        return subprocess.Popen(self.command(host, argv, user), **kwargs)

    def background(self, host, log, *argv, user="user"):
        """Starts a command inside a host that outlives the caller, its output in a file of the user's home. Answers its pid in the host."""
        script = f"setsid {shlex.join(argv)} </dev/null >>{shlex.quote(log)} 2>&1 & echo $!"
        return int(self.run(host, "sh", "-c", script, user=user).stdout)

    # --- the programs --------------------------------------------------------------------------------------------------------------

    def start_rendezvous(self, *arguments, registry=REGISTRY, beacon=BEACON):
        """`registry` and `beacon`: where it listens; ":PORT" is any address of both families."""
        pid = self.background("net", "rendezvous.log", "pilot-rendezvous", "--registry-addr", registry, "--beacon-addr", beacon,
                              "--store", "/home/user/rendezvous.db", *arguments)
        address, _, port = registry.rpartition(":")

        def listening():
            if self.run("net", "kill", "-0", str(pid), check=False).returncode != 0:
                raise LabError("the rendezvous ended: " + self.run("net", "tail", "-n", "5", "rendezvous.log").stdout.strip())
            return f"{address or '*'}:{port}" in self.run("net", "ss", "-Hltn").stdout

        wait_until(listening, 15, "the rendezvous listens")
        return pid

    @staticmethod
    def in_parallel(function, items):
        """Calls the function with each item at the same time and answers what it answered, in order. The first failure is raised when all are
        done."""
        with ThreadPoolExecutor(max_workers=max(1, len(items))) as pool:
            return [future.result() for future in [pool.submit(function, item) for item in items]]

    def start_daemon(self, host, *arguments, environment=()):
        self.run(host, "env", *environment, "pilotctl", "daemon", "start", "--hostname", f"agent-{host}", "--registry", REGISTRY, "--beacon", BEACON, *arguments)
        self.wait_online(host)

    def info(self, host):
        """The data of `pilotctl info`, or None when no daemon answers."""
        done = self.run(host, "pilotctl", "--json", "info", check=False)
        if done.returncode != 0:
            return None
        return json.loads(done.stdout)["data"]

    def wait_online(self, host, seconds=20):
        def online():
            info = self.info(host)
            return info if info and info.get("node_id") and info.get("state", "online") == "online" else None

        return wait_until(online, seconds, f"the daemon of {host} is registered")

    # --- the wire ------------------------------------------------------------------------------------------------------------------

    def wire(self, host, settings, clear=False):
        """Changes the uplink of a host; the settings that are not named stay. Answers the state of the wire."""
        name = "net" if host == "net" else f"router-{host}"
        if host != "net" and host not in self.state["hosts"]:
            raise LabError(f"“{host}” has no uplink: net, {', '.join(self.state['hosts'])}")
        with self._lock():
            if clear:
                self._unplug_wire(host, name)
                return {}
            if host not in self.state["wires"]:
                self._plug_wire(host, name)
            return self._ask_wire(host, " ".join(f"{key}={value}" for key, value in settings.items()))

    def _wire_devices(self, host):
        return f"tap-a-{host}", f"tap-b-{host}", f"way-{host}"

    def _plug_wire(self, host, name):
        """Puts the wire between the cable of the host's router and the internet segment. No device of the router changes, so that its NAT
        forgets nothing."""
        program = os.path.join(self.state["build"], "tests", "lab", "wire", "pilot-wire")
        if not os.access(program, os.X_OK):
            raise LabError(f"“{program}” is not built: run “ninja -C {self.state['build']} tests/lab/wire/pilot-wire”")
        near, far, bridge = self._wire_devices(host)
        internet = self.namespace("internet")
        with open(os.path.join(self.folder, f"wire-{host}.log"), "w", encoding="utf-8") as log:
            process = subprocess.Popen(internet.enter("net", "pid") + [program, "--tap-a", near, "--tap-b", far, "--control", self._wire_socket(host)],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        if process.stdout.readline() != b"ready\n":
            with open(os.path.join(self.folder, f"wire-{host}.log"), encoding="utf-8") as log:
                raise LabError(f"the wire does not start: {log.read().strip()}")
        process.stdout.close()
        # A long queue before the wire: it is the wire alone that drops.
        internet.ip(f"link add {bridge} type bridge\nlink set {bridge} up\n"
                    f"link set {near} txqueuelen 20000\nlink set {far} txqueuelen 20000\n"
                    f"link set {near} master {bridge}\nlink set {near} up\nlink set {far} master inet0\nlink set {far} up\n"
                    f"link set {_port(name)} master {bridge}\n")
        pid = only_child(process.pid)
        self.state["wires"][host] = {"pid": pid, "started": start_time(pid)}
        self._save()

    def _unplug_wire(self, host, name):
        if host not in self.state["wires"]:
            return
        internet = self.namespace("internet")
        internet.ip(f"link set {_port(name)} master inet0\nlink del {self._wire_devices(host)[2]}\n")
        wire = self.state["wires"].pop(host)
        kill_and_wait(wire["pid"], wire["started"])
        self._save()

    def _wire_socket(self, host):
        return os.path.join(self.folder, f"wire-{host}.sock")

    def _ask_wire(self, host, request):
        with tempfile.TemporaryDirectory(dir=self.folder) as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(os.path.join(folder, "answer"))
            sock.settimeout(5)
            sock.sendto(request.encode(), self._wire_socket(host))
            answer = sock.recv(4096).decode()
        if answer.startswith("error: "):
            raise LabError(answer.removeprefix("error: "))
        return json.loads(answer)


def worlds():
    """The names of the worlds that are there."""
    try:
        names = sorted(os.listdir(STATE))
    except FileNotFoundError:
        return []
    return [name for name in names if os.path.isdir(os.path.join(STATE, name))]


# The lab is IPv4 until ipv6.py adds more; router solicitations and the like would only disturb a wire whose losses are to be the same at every run.
_NO_IPV6 = "if [ -e /proc/sys/net/ipv6/conf/all/disable_ipv6 ]; then echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; fi\n"
# A host keeps ::1, because servers listen there.
_NO_IPV6_LINKS = "if [ -e /proc/sys/net/ipv6/conf/default/disable_ipv6 ]; then echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; fi\n"

# Where the module is loaded the rules of the router would also see what its switch carries, and do its translation in the switch.
_NO_BRIDGE_FILTER = "if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables; fi\n"

# Whether somebody at this address refuses a connection: nobody listens on port 9.
_REFUSED = r"""
import socket, sys
try: socket.create_connection((sys.argv[1], 9), 1)
except ConnectionRefusedError: sys.exit(0)
except OSError: pass
sys.exit(1)
"""

_HOST_SETUP = """hostname {name}
{no_ipv6}echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range
scratch={scratch}
{install}mkdir $scratch/own
mount -t tmpfs -o mode=755,size=64m tmpfs $scratch/own
mkdir $scratch/own/etc $scratch/own/work
mount -t overlay -o lowerdir=/etc,upperdir=$scratch/own/etc,workdir=$scratch/own/work overlay /etc
for file in hostname hosts resolv.conf nsswitch.conf passwd group shadow sudoers; do
  rm -f /etc/$file
  cp $scratch/$file /etc/$file
done
rm -rf /etc/sudoers.d
echo {libraries} >/etc/ld.so.conf.d/pilot-lab.conf
/sbin/ldconfig
chown 0:0 /etc/shadow /etc/sudoers
chmod 640 /etc/shadow
chmod 440 /etc/sudoers
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /home
mount -t tmpfs -o mode=700 tmpfs /root
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/user /run/lock /run/sshd
for who in {uid}:user {other}:other; do
  mkdir -m 750 /home/${{who#*:}}
  mkdir -m 700 /run/user/${{who%:*}}
  chown ${{who%:*}}:${{who%:*}} /home/${{who#*:}} /run/user/${{who%:*}}
done"""


def _system_lines(path, limit=1000):
    """The lines of passwd or group that are the system's own."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return "".join(line for line in file
                       if line.split(":")[2:3] and line.split(":")[2].isdigit()
                       and (int(line.split(":")[2]) < limit or int(line.split(":")[2]) == 65534))


def _etc(name, address, path):
    passwd, group = _system_lines("/etc/passwd"), _system_lines("/etc/group")
    users = ((UID, "user"), (OTHER_UID, "other"))
    passwd += "".join(f"{user}:x:{uid}:{uid}:{user}:/home/{user}:/bin/bash\n" for uid, user in users)
    group += "".join(f"{user}:x:{uid}:\n" for uid, user in users)
    shadow = "".join(f"{line.split(':')[0]}:*:19000:0:99999:7:::\n" for line in passwd.splitlines())
    return {
        "hostname": f"{name}\n",
        "hosts": f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{address} {name}\n" + ("" if name == "net" else "192.0.2.1 net\n"),
        "resolv.conf": "nameserver 127.0.0.1\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n",
        "passwd": passwd,
        "group": group,
        "shadow": shadow,
        # The other user may nothing: he is there to be refused.
        "sudoers": f'Defaults env_reset\nDefaults secure_path="{path}"\nroot ALL=(ALL:ALL) ALL\nuser ALL=(ALL:ALL) NOPASSWD: ALL\n',
    }


def main_error(error):
    print(f"lab: {error}", file=sys.stderr)
    return 1
