"""How sure a difference between two models is, from values measured on both."""
from __future__ import annotations

import statistics
from collections.abc import Sequence

from scipy.special import stdtrit


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Mean of paired differences and half the width of its 95 % interval (Student's t: two or three
    values say little yet; infinite for one)."""
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return mean, float('inf')
    half = stdtrit(len(differences) - 1, 0.975) * statistics.stdev(differences) / len(differences)**0.5
    return mean, float(half)
