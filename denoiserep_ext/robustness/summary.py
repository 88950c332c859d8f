"""Figures of many cells in a few: mPC, rPC and mCE."""
from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ..corruptions.names import BENCHMARK, HOLDOUT

GROUPS = {'benchmark': BENCHMARK, 'holdout': HOLDOUT}
ACCURACY = 'accuracy/top1'  # 100 minus it is the error that mCE is of

Scores = Mapping[tuple[str, int], float]  # a metric by corruption and severity


def mean_performance(scores: Scores, corruptions: Sequence[str], severities: Sequence[int]) -> float:
    """mPC: the mean over corruptions of the means over severities (Michaelis et al., *Benchmarking
    Robustness in Object Detection*, 2019)."""
    return statistics.fmean(statistics.fmean(scores[name, severity] for severity in severities)
                            for name in corruptions)


def mean_corruption_error(scores: Scores, reference: Scores, corruptions: Sequence[str],
                          severities: Sequence[int]) -> float:
    """mCE in %: per corruption the sum of errors over severities, over that of a reference model;
    the mean of these ratios (Hendrycks and Dietterich, ICLR 2019, who refer to AlexNet).

    Args:
        scores: Accuracy in %.
        reference: The reference model's.

    Returns:
        nan if the reference makes no error under some corruption.
    """
    def errors(of: Scores, name: str) -> float:
        return sum(100 - of[name, severity] for severity in severities)
    if not all(errors(reference, name) for name in corruptions):
        return math.nan
    return 100 * statistics.fmean(errors(scores, name) / errors(reference, name)
                                  for name in corruptions)


def summarise(metric: str, clean: float, scores: Scores, reference: Scores, corruptions: Sequence[str],
              severities: Sequence[int]) -> dict[str, Any]:
    """Figures of one checkpoint.

    Args:
        metric: The metric's name.
        clean: Its value on the images as they are.
        scores: Its values on worse ones.
        reference: Those of the checkpoint that mCE refers to.
        corruptions, severities: What was measured.

    Returns:
        ``clean``, the ``mean`` over severities of each corruption, and for all corruptions together
        and each published group among them ``mPC``, ``rPC`` (mPC in % of clean; nan if that is 0) and,
        of accuracies, ``mCE``.
    """
    groups = {name: members for name, members in GROUPS.items() if set(members) <= set(corruptions)}
    if not any(set(members) == set(corruptions) for members in groups.values()):
        groups[f'{len(corruptions)} corruptions'] = tuple(corruptions)
    figures: dict[str, Any] = {
        'clean': clean, 'mean': {name: statistics.fmean(scores[name, s] for s in severities)
                                 for name in corruptions}, 'groups': {}}
    for name, members in groups.items():
        mpc = mean_performance(scores, members, severities)
        figures['groups'][name] = {'mPC': mpc, 'rPC': 100 * mpc / clean if clean else math.nan}
        if metric == ACCURACY:
            figures['groups'][name]['mCE'] = mean_corruption_error(scores, reference, members,
                                                                   severities)
    return figures
