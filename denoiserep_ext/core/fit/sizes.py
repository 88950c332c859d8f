"""How much denoising changes a model's weights, in words, and when that may be too much."""
from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

# Mean over layers. On CIFAR-10's ResNet-20, means up to 0.09 cost no accuracy and means from 0.18 cost
# more than ten points, with unit and with relative noise: python -m tests.measure.change_of_weights.
# Models whose features fill few directions bear more, since what changes most there is hardly used.
LARGE = 0.1


def describe(sizes: Mapping[str, float]) -> str:
    """One line on the size of the change.

    Args:
        sizes: ``||W' - W|| / ||W||`` by layer name, see :func:`~denoiserep_ext.step_sizes`.
    """
    most = max(sizes, key=sizes.get)
    return (f'weights change by {fmean(sizes.values()):.1%} of their norm on average, most in '
            f'{most or "the layer"} ({sizes[most]:.1%})')


def warning_of(sizes: Mapping[str, float]) -> str | None:
    """What to tell the user where the change is so large that it may harm the model, or None.

    Args:
        sizes: See :func:`describe`.
    """
    if fmean(sizes.values()) <= LARGE:
        return None
    return (f'Strong denoising: {describe(sizes)}. Changes beyond {LARGE:.0%} can harm a model that is '
            f'not trained further: score it, or choose a smaller strength (or step_stride).')
