# SPDX-License-Identifier: LGPL-2.1-or-later
"""load.c inside the hosts of a world."""

import os

PATH = "/home/user/load"


def install(world, host):
    """A build folder need not be readable for the users of a host."""
    with open(os.path.join(world.state["build"], "tests", "bench", "load"), "rb") as program:
        world.run(host, "sh", "-c", f"cat >{PATH} && chmod 755 {PATH}", stdin=program.read())


def load(world, host, *arguments, timeout=300):
    """The two numbers that it prints."""
    return [float(word) for word in world.run(host, PATH, *map(str, arguments), timeout=timeout).stdout.split()]
