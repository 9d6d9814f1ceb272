# SPDX-License-Identifier: LGPL-2.1-or-later
"""load.c inside the hosts of a world, and the order in which several ways are measured."""

import os
import statistics

PATH = "/home/user/load"


def install(world, host):
    """A build folder need not be readable for the users of a host."""
    with open(os.path.join(world.state["build"], "tests", "bench", "load"), "rb") as program:
        world.run(host, "sh", "-c", f"cat >{PATH} && chmod 755 {PATH}", stdin=program.read())


def load(world, host, *arguments, timeout=300):
    """The two numbers that it prints."""
    return [float(word) for word in world.run(host, PATH, *map(str, arguments), timeout=timeout).stdout.split()]


def in_turn(ways, measure, times=3):
    """Each way after the other, so many times over, so that a slow moment of the machine meets all of them: the medians of what `measure(way)` answers, number by number."""
    answers = {way: [] for way in ways}
    for _ in range(times):
        for way in ways:
            answers[way].append(measure(way))
    return {way: [statistics.median(numbers) for numbers in zip(*lists)] for way, lists in answers.items()}
