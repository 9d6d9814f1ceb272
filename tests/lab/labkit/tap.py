# SPDX-License-Identifier: LGPL-2.1-or-later
"""The harness of the lab tests: cases that share a world, printed as TAP, one line a case."""

import os
import sys
import time
import traceback
from typing import NamedTuple

from .namespace import LabError
from .world import World

SKIP = 77


class Skip(Exception):
    """This machine cannot run the case; the text says why."""


class Case(NamedTuple):
    title: str
    function: object
    needs: tuple  # functions of cases before it


class Suite:
    """Cases in the order they are written. A case is a function that takes the world and raises when it finds something wrong. It may build on what
    others before it left: those it names, and the first; in a chained suite all of them."""

    def __init__(self, name, chained=False, **world):
        self.name = name
        self.chained = chained
        self.world_options = world
        self.cases = []
        self.needed_by_all = ()

    def case(self, title, needs=()):
        def add(function):
            before = [case.function for case in self.cases] if self.chained else self.needed_by_all
            self.cases.append(Case(title, function, (*before, *needs)))
            return function
        return add

    def first(self, title):
        """A case that makes what all behind it need."""
        def add(function):
            self.case(title)(function)
            self.needed_by_all = (function,)
            return function
        return add

    def select(self, wanted):
        """The cases whose title holds the text, and those that they need."""
        chosen = {case.function for case in self.cases if wanted in case.title}
        for case in reversed(self.cases):
            if case.function in chosen:
                chosen.update(case.needs)
        return [case for case in self.cases if case.function in chosen]

    def main(self):
        """Sets the world up, runs the cases (only those whose title holds the first argument, when there is one, and what they need) and takes it down."""
        if os.geteuid() != 0:
            print("the lab needs root", file=sys.stderr)
            sys.exit(SKIP)
        wanted = sys.argv[1] if len(sys.argv) > 1 else ""
        cases = self.select(wanted)
        if not cases:
            print(f"no case of {self.name} has “{wanted}” in its title", file=sys.stderr)
            sys.exit(1)
        print(f"1..{len(cases)}", flush=True)
        world = World(f"t-{os.getpid()}")
        try:
            world.up(**self.world_options)
        except LabError as error:
            print(f"Bail out! the world does not come up: {' '.join(str(error).split())}", flush=True)
            sys.exit(1)
        failed = False
        try:
            for number, case in enumerate(cases, 1):
                failed |= not self._run_case(world, number, case.title, case.function)
        finally:
            if not os.environ.get("PILOT_LAB_KEEP"):
                world.down()
        sys.exit(1 if failed else 0)

    def _run_case(self, world, number, title, function):
        started = time.monotonic()
        try:
            function(world)
        except Skip as why:
            print(f"ok {number} {title} # SKIP {why}", flush=True)
            return True
        except Exception:  # pylint: disable=broad-except  -- whatever a case raises is its failure, the others still run
            print(f"not ok {number} {title}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
            self._print_logs(world)
            return False
        print(f"ok {number} {title}", flush=True)
        print(f"# {title}: {time.monotonic() - started:.1f} s", flush=True)
        return True

    @staticmethod
    def _print_logs(world):
        for host in ("net", *world.state["hosts"]):
            log = "rendezvous.log" if host == "net" else ".pilot/pilot.log"
            try:
                text = world.run(host, "sh", "-c", f"tail -n 15 {log} 2>&1").stdout
            except Exception as error:  # pylint: disable=broad-except  -- a log that cannot be read must not hide the failure it is for
                text = str(error)
            for line in text.splitlines():
                print(f"# {host}: {line}", flush=True)


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def expect_equal(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")
