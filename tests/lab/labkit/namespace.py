# SPDX-License-Identifier: LGPL-2.1-or-later
"""Namespaces held by one process each, whose end is the end of everything inside."""

import os
import shlex
import signal
import subprocess
import time


class LabError(Exception):
    """Something the person at the keyboard can be told in one line."""


def run(argv, stdin=None, **kwargs):
    """Runs a command, answers its output, and raises LabError with its words when it fails."""
    done = subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise LabError(f"{shlex.join(argv)}: exit {done.returncode}: {' / '.join(said[-5:])}")
    return done.stdout


def start_time(pid):
    """When a process began, in ticks since boot: with the pid it names one process for ever. None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] == b"Z":
        return None
    return int(fields[19])


def only_child(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        found = children.read().split()
    if len(found) != 1:
        raise LabError(f"process {pid} has {len(found)} children instead of one")
    return int(found[0])


def kill_and_wait(pid, started, seconds=10):
    """Kills one process and waits until it is gone; does nothing when the pid belongs to another by now."""
    if started is None or start_time(pid) != started:
        return
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    until = time.monotonic() + seconds
    while start_time(pid) == started:
        if time.monotonic() > until:
            raise LabError(f"process {pid} does not end")
        time.sleep(0.01)


# The first process of a PID namespace. It ignores SIGCHLD across exec, so that the kernel reaps what becomes its child
# (dash does not hand an ignored SIGCHLD on; env does).
_INIT = "set -e\n{setup}\necho ready\nexec </dev/null >/dev/null 2>&1\nexec env --ignore-signal=CHLD sleep infinity\n"


class Namespace:
    """One set of PID, network, mount, IPC and UTS namespaces."""

    def __init__(self, pid, started):
        self.pid = pid
        self.started = started

    @classmethod
    def create(cls, setup, parent=None, on_start=None):
        """Makes a set of namespaces whose first process runs the shell script `setup` and then waits for its end. With a parent it ends when
        the parent ends. `on_start` is told the pid of an ancestor that takes it down, as early as there is one."""
        argv = ["unshare", "--pid", "--net", "--mount", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc",
                "--propagation", "private", "/bin/sh", "-c", _INIT.format(setup=setup)]
        if parent is not None:
            argv = ["nsenter", "-t", str(parent.pid), "-p", "--"] + argv
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True, cwd="/")
        if on_start is not None:
            on_start(process.pid)
        line = process.stdout.readline()
        if line != "ready\n":
            said = process.stderr.read().strip()
            process.wait()
            raise LabError(f"cannot make a namespace: {said or line.strip() or 'no message'}")
        pid = only_child(process.pid)
        if parent is not None:
            pid = only_child(pid)
        process.stdout.close()
        process.stderr.close()
        return cls(pid, start_time(pid))

    def alive(self):
        return self.started is not None and start_time(self.pid) == self.started

    def enter(self, *which):
        """The words that run a command in here; `which` of "pid", "net", "mount", … (all of them when none is named)."""
        flags = [f"--{name}" for name in which] or ["--pid", "--net", "--mount", "--uts", "--ipc"]
        return ["nsenter", "-t", str(self.pid), *flags, "--"]

    def ip(self, script):
        """Runs a batch of ip(8) commands in the network namespace."""
        run(self.enter("net") + ["ip", "-batch", "-"], stdin=script)

    def nft(self, script):
        run(self.enter("net") + ["nft", "-f", "-"], stdin=script)

    def shell(self, script):
        """Runs a shell script in the namespace, as root."""
        run(self.enter() + ["/bin/sh", "-e"], stdin=script)
