# SPDX-License-Identifier: LGPL-2.1-or-later
"""The order in which ways that are compared are measured.

What the host of a virtual machine has left for it changes within seconds, by half and more. Whoever is measured first has besides the memory that the kernel has not touched yet: the first
transfers of a world are a third slower than those that follow, through whatever way they go. So nobody is measured in one piece, and what is told of each is a median."""

import statistics


def in_turn(ways, measure, times=5):
    """Each way after the other, so many times over, so that a slow moment of the machine meets all of them: the medians of what `measure(way)` answers, number by number."""
    answers = {way: [] for way in ways}
    for _ in range(times):
        for way in ways:
            answers[way].append(measure(way))
    return {way: [statistics.median(numbers) for numbers in zip(*lists)] for way, lists in answers.items()}
