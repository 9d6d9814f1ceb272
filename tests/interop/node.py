# SPDX-License-Identifier: LGPL-2.1-or-later
"""A node of either kind, ours or the Go daemon, behind the same few words, so that a case can be played in both directions."""

import importlib.machinery
import importlib.util
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(SOURCE, "tests", "lab"))

from labkit import player  # noqa: E402
from labkit.namespace import LabError  # noqa: E402,F401  -- for the cases
from labkit.tap import Suite, expect, expect_equal  # noqa: E402
from labkit.world import BEACON, REGISTRY, find_build, wait_until  # noqa: E402

STREAM = "/home/user/stream.py"


def _fetch_peer():
    """tools/fetch-peer as a module: a program whose name is no module name."""
    loader = importlib.machinery.SourceFileLoader("fetch_peer", os.path.join(SOURCE, "tools", "fetch-peer"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("fetch_peer", loader))
    loader.exec_module(module)
    return module


def _version():
    """Of the Go programs, as numbers."""
    wanted = os.environ.get("PILOT_PEER_VERSION")
    return [int(word) for word in wanted.split(".")] if wanted else None


def older_than(*version):
    """Whether the Go programs are from before a version, which brought something that cases are about."""
    return _version() is not None and _version() < list(version)


# Before 1.14 a Go node asks the registry for what waits there once in a keepalive interval, which is 60 s: there it is told to take less, and gets more time.
SELDOM = older_than(1, 14)
REQUEST_SECONDS, TRUST_SECONDS = (30, 20) if SELDOM else (10, 5)
if older_than(1, 10):
    # A private one does not let an approval in that comes directly; its own kind tries that for 17 s before it asks the registry to hand it over.
    TRUST_SECONDS = 40


class CannotBeHad(LabError):
    """No Go programs here, and the text says why."""


def fetch_programs(build):
    """Puts the Go programs where the nodes take them from. $PILOT_PEER_VERSION: another version than the newest."""
    fetch_peer = _fetch_peer()
    try:
        os.environ["PILOT_PEER"] = fetch_peer.fetch(build, os.environ.get("PILOT_PEER_VERSION"))
    except fetch_peer.CannotBeHad as why:
        raise CannotBeHad(str(why)) from None


def main(suite):
    """Runs a suite when the Go programs can be had, else skips each of its cases by name."""
    try:
        fetch_programs(find_build())
    except CannotBeHad as why:
        print(f"1..{len(suite.cases)}")
        for number, case in enumerate(suite.cases, 1):
            print(f"ok {number} {case.title} # SKIP {' '.join(str(why).split())}")
        sys.exit(0)
    Suite.main(suite)


class Node:
    """What both kinds do alike: their pilotctl has the same commands and answers with the same data."""

    def __init__(self, world, host):
        self.world = world
        self.host = host
        self.id = None
        with open(os.path.join(HERE, "stream.py"), "rb") as file:
            self._put(STREAM, file.read())

    def ctl(self, *argv, timeout=60):
        """Runs its pilotctl and answers the data; a failure raises."""
        done = self._run(*argv, timeout=timeout, check=True)
        answer = json.loads(done.stdout)
        expect_equal(answer.get("status"), "ok", f"{self.host}: pilotctl {' '.join(argv)}")
        return answer["data"]

    def try_ctl(self, *argv, timeout=60):
        """Runs its pilotctl and answers the data, or None when it fails."""
        done = self._run(*argv, timeout=timeout, check=False)
        return json.loads(done.stdout)["data"] if done.returncode == 0 else None

    def fails(self, *argv, timeout=60):
        """Runs its pilotctl, which must fail; answers the whole of what it said."""
        done = self._run(*argv, timeout=timeout, check=False)
        expect(done.returncode != 0, f"{self.host}: pilotctl {' '.join(argv)} succeeded: {done.stdout!r}")
        return done.stdout + done.stderr

    @property
    def address(self):
        return player.address(self.id)

    def trusted(self):
        return {record["node_id"] for record in self.ctl("trust")["trusted"]}

    def pending(self):
        return {record["node_id"] for record in self.ctl("pending")["pending"]}

    def trusts(self, other, seconds=TRUST_SECONDS):
        wait_until(lambda: other.id in self.trusted(), seconds, f"{self.host} trusts {other.host}")

    def trusts_not(self, other, seconds=TRUST_SECONDS):
        wait_until(lambda: other.id not in self.trusted(), seconds, f"{self.host} trusts {other.host} no more")

    def path_to(self, other):
        """"direct", "relay", or None for a peer it has no session with."""
        for peer in self._peers():
            if peer.get("node_id") == other.id:
                return peer.get("path") or ("relay" if peer.get("relay") else "direct")
        return None

    def round_trips(self, other, count=4):
        """The round trips of a ping, in ms; every echo must come back."""
        data = self.ctl("ping", self.target(other), "--count", str(count))
        rtts = [result["rtt_ms"] for result in data["results"] if "error" not in result]
        expect_equal((len(rtts), data["timeout"]), (count, False), f"{self.host} pings {other.host}: {data}")
        return rtts

    def _put(self, path, data):
        self.world.run(self.host, "sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod 755 "$1"', "sh", path, stdin=data)

    def serve(self, port, *argv):
        """Starts tests/interop/stream.py as a server, behind this node; its words go to a log. Answers the name of that."""
        log = f"stream-{port}.log"
        self.world.background(self.host, log, *self.stream_words(*argv))
        wait_until(lambda: self.said(log).startswith("ready"), 10, f"{self.host} serves port {port}")
        return log

    def said(self, log):
        return self.world.run(self.host, "cat", log, check=False).stdout

    def stream(self, *argv, timeout=120):
        """Runs tests/interop/stream.py as a client on this node and answers what it saw."""
        return json.loads(self.world.run(self.host, *self.stream_words(*argv), timeout=timeout).stdout)

    def blob_digest(self, mib):
        """The digest of the blob that stream.py sends."""
        return json.loads(self.world.run(self.host, "python3", STREAM, "digest", str(mib)).stdout)

    def answers(self, other, seconds=30):
        """Waits until one ping of the other comes back: tunnels that a restart broke are made anew."""
        wait_until(lambda: (data := self.try_ctl("ping", self.target(other), "--count", "1")) and "rtt_ms" in data["results"][0], seconds,
                   f"{other.host} answers {self.host}")

    @staticmethod
    def target(other):
        return str(other.id)


class Ours(Node):
    kind = "ours"

    def start(self, *arguments):
        self.world.start_daemon(self.host, *arguments)
        self.id = self.ctl("info")["node_id"]
        return self

    def stop(self):
        player.daemon_stop(self.world, self.host)

    def kill(self):
        player.kill(self.world, self.host, self.ctl("daemon", "status")["pid"], "KILL")

    def _run(self, *argv, timeout, check):
        return self.world.run(self.host, "pilotctl", "--json", *argv, timeout=timeout, check=check)

    def _peers(self):
        return self.ctl("peers")["peers"]

    @staticmethod
    def stream_words(*argv):
        return ["python3", STREAM, *argv]


class Go(Node):
    kind = "Go"
    SOCKET = "/home/user/go/socket"

    def __init__(self, world, host):
        super().__init__(world, host)
        self.pid = None
        # Its pilotctl asks the registry itself, and never over TLS.
        self.plain_registry = REGISTRY
        self._install()

    def _install(self):
        """Its programs go into the host's home: what the build folder is called there, nobody knows (it may lie below /home or /tmp)."""
        package = os.path.join(os.environ["PILOT_PEER"], "pilotprotocol")
        for name in ("bin/pilot-daemon", "bin/pilotctl", "bin/libpilot.so", "__init__.py", "client.py", "_runtime.py"):
            with open(os.path.join(package, name), "rb") as file:
                self._put(f"go/pilotprotocol/{name}", file.read())
        self.world.run(self.host, "mkdir", "-p", "-m", "700", ".pilot")

    def _environment(self):
        return ["env", f"PILOT_SOCKET={self.SOCKET}", f"PILOT_REGISTRY={self.plain_registry}", f"PILOT_BEACON={BEACON}", "PILOT_NO_SKILLINJECT=1",
                "PILOT_LIB_PATH=/home/user/go/pilotprotocol/bin/libpilot.so", "PYTHONPATH=/home/user/go"]

    def _knows(self, flag):
        """Whether this version of the daemon has a flag: it ends at one that it does not know."""
        return f"  -{flag} " in self.world.run(self.host, "go/pilotprotocol/bin/pilot-daemon", "-help", check=False).stderr

    def start(self, *arguments, seconds=20):
        if SELDOM:
            arguments += ("-keepalive", "3s")
        if self._knows("motd-feed-url"):
            arguments += ("-motd-feed-url", "")
        self.pid = self.world.background(self.host, ".pilot/pilot.log", *self._environment(), "go/pilotprotocol/bin/pilot-daemon", "-registry", REGISTRY,
                                         "-beacon", BEACON, "-hostname", f"agent-{self.host}", "-identity", "/home/user/.pilot/identity.json",
                                         "-socket", self.SOCKET, "-email", f"{self.host}@example.org", *arguments)
        wait_until(lambda: self._run("info", timeout=10, check=False).returncode == 0, seconds, f"the Go daemon of {self.host} is registered")
        self.id = self.ctl("info")["node_id"]
        return self

    def stop(self):
        player.kill(self.world, self.host, self.pid)

    def kill(self):
        player.kill(self.world, self.host, self.pid, "KILL")

    def _run(self, *argv, timeout, check):
        return self.world.run(self.host, *self._environment(), "go/pilotprotocol/bin/pilotctl", "--json", *argv, timeout=timeout, check=check)

    def _peers(self):
        return self.ctl("peers", "--all")["peers"]

    def stream_words(self, *argv):
        return [*self._environment(), "python3", STREAM, "--sdk", self.SOCKET, *argv]


class GoTools(Go):
    """Go's own pilotctl and SDK as they are, on a host whose daemon is ours: each looks for the socket where it always does."""
    kind = "Go's tools on ours"
    SOCKET = "/tmp/pilot.sock"

    def _environment(self):
        return [word for word in super()._environment() if not word.startswith("PILOT_SOCKET=")]

    def start(self, *arguments, seconds=20):
        self.world.start_daemon(self.host, *arguments)
        wait_until(lambda: self._run("info", timeout=10, check=False).returncode == 0, seconds, f"Go's pilotctl finds the daemon of {self.host}")
        self.id = self.ctl("info")["node_id"]
        return self

    def stop(self):
        player.daemon_stop(self.world, self.host)

    def text(self, *argv, timeout=60):
        """Runs Go's pilotctl for a person to read; answers the finished process."""
        return self.world.run(self.host, *self.words(*argv), timeout=timeout, check=False)

    def words(self, *argv):
        return [*self._environment(), "/home/user/go/pilotprotocol/bin/pilotctl", *argv]

    def sdk(self, script, *argv, timeout=60):
        """Runs a Python script that has `driver`, made without arguments, and prints JSON; answers that."""
        head = "import json, sys\nfrom pilotprotocol.client import Driver, PilotError\ndriver = Driver()\n"
        return json.loads(self.world.run(self.host, *self._environment(), "python3", "-c", head + script, *argv, timeout=timeout).stdout)


def ask_and_approve(asker, granter):
    """One node asks by its id, the other approves; both must see it within 5 s of the approval."""
    asker.ctl("handshake", str(granter.id), "let me in")
    wait_until(lambda: asker.id in granter.pending(), REQUEST_SECONDS, f"the request of {asker.host} arrives at {granter.host}")
    granter.ctl("approve", str(asker.id))
    asker.trusts(granter)
    granter.trusts(asker)
