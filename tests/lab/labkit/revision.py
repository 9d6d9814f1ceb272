# SPDX-License-Identifier: LGPL-2.1-or-later
"""Of which state of the source something was measured."""

import os
import subprocess


def revision():
    """The short name of the commit, or "unknown" in an unpacked archive or without git."""
    try:
        done = subprocess.run(["git", "-C", os.path.dirname(os.path.realpath(__file__)), "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
