"""mPC, rPC and mCE against their definitions, written out."""
import math

import pytest

from denoiserep_ext.corruptions.names import ALL, BENCHMARK, HOLDOUT
from denoiserep_ext.robustness.summary import (
    mean_corruption_error,
    mean_performance,
    summarise,
)

SCORES = {('fog', 1): 80.0, ('fog', 3): 60.0, ('snow', 1): 50.0, ('snow', 3): 10.0}
REFERENCE = {('fog', 1): 90.0, ('fog', 3): 90.0, ('snow', 1): 40.0, ('snow', 3): 60.0}
NAMES, SEVERITIES = ('fog', 'snow'), (1, 3)


def test_mean_performance_is_the_mean_of_means():
    assert mean_performance(SCORES, NAMES, SEVERITIES) == ((80 + 60) / 2 + (50 + 10) / 2) / 2 == 50


def test_mean_corruption_error_is_the_mean_of_ratios_of_summed_errors():
    ratios = (20 + 40) / (10 + 10), (50 + 90) / (60 + 40)
    assert mean_corruption_error(SCORES, REFERENCE, NAMES, SEVERITIES) == pytest.approx(
        100 * sum(ratios) / 2)
    assert mean_corruption_error(SCORES, SCORES, NAMES, SEVERITIES) == 100


def test_an_error_of_nothing_refers_to_nothing():
    perfect = dict.fromkeys(REFERENCE, 100.0)
    assert math.isnan(mean_corruption_error(SCORES, perfect, NAMES, SEVERITIES))
    assert mean_corruption_error(perfect, SCORES, NAMES, SEVERITIES) == 0


def test_a_summary_has_relative_performance_and_an_error_for_accuracies_only():
    figures = summarise('accuracy/top1', 80.0, SCORES, REFERENCE, NAMES, SEVERITIES)
    assert figures['mean'] == {'fog': 70.0, 'snow': 30.0} and figures['clean'] == 80.0
    group = figures['groups']['2 corruptions']
    assert group['mPC'] == 50 and group['rPC'] == 62.5 and group['mCE'] == pytest.approx(220)
    other = summarise('mIoU', 0.0, SCORES, REFERENCE, NAMES, SEVERITIES)
    assert 'mCE' not in other['groups']['2 corruptions']
    assert math.isnan(other['groups']['2 corruptions']['rPC'])


@pytest.mark.parametrize('names, groups', [
    (ALL, ['benchmark', 'holdout', '19 corruptions']), (BENCHMARK, ['benchmark']),
    (tuple(reversed(HOLDOUT)), ['holdout']), (('fog', ), ['1 corruptions']),
    (BENCHMARK + ('spatter', ), ['benchmark', '16 corruptions'])])
def test_published_groups_are_told_where_they_are_whole(names, groups):
    scores = {(name, 1): float(i) for i, name in enumerate(names)}
    found = summarise('mAP', 50.0, scores, scores, names, (1, ))['groups']
    assert list(found) == groups
    for group, members in (('benchmark', BENCHMARK), ('holdout', HOLDOUT)):
        if group in found:
            mean = sum(scores[name, 1] for name in members) / len(members)
            assert found[group]['mPC'] == pytest.approx(mean)
