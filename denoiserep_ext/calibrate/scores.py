"""What models score, whole and unit by unit, on clean images and on worse ones."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..corruptions.names import Corruption


@dataclass(frozen=True)
class Scores:
    """What a model scored on some images.

    Attributes:
        metric: Name of the metric that counts; higher is better.
        value: Its value.
        units: The same of parts of the images, or of identities, always in the same order; what two
            models differ in, unit by unit, shows how sure a difference is.
        metrics: Everything the host's evaluator said.
        parts: Where the value is the mean over several conditions of the images, its value under each.
    """

    metric: str
    value: float
    units: np.ndarray = field(repr=False)
    metrics: dict[str, float]
    parts: dict[str, float] = field(default_factory=dict)


def mean_scores(metric: str, parts: Iterable[dict[str, float]]) -> Scores:
    """Scores of parts of equal weight as those of the whole."""
    parts = list(parts)
    units = np.array([part[metric] for part in parts])
    return Scores(metric, float(units.mean()), units,
                  {name: float(np.mean([part[name] for part in parts])) for name in parts[0]})


def named(metrics: dict[str, float], corruption: Corruption | None) -> dict[str, float]:
    """Metrics with the corruption they were measured under in front."""
    return {name if corruption is None else f'{corruption}: {name}': value
            for name, value in metrics.items()}


def mean_over_conditions(validate: Callable[[Corruption | None], Scores],
                         conditions: Sequence[Corruption | None]) -> Scores:
    """The present model's scores on validation images, clean and made worse: their mean counts, whole
    and unit by unit."""
    scores = {corruption: validate(corruption) for corruption in conditions}
    first, *others = scores.values()
    if not others:
        return first
    metrics = {name: value for corruption, own in scores.items()
               for name, value in named(own.metrics, corruption).items()}
    return Scores(f'mean {first.metric}', float(np.mean([own.value for own in scores.values()])),
                  np.mean([own.units for own in scores.values()], 0), metrics,
                  {str(corruption or 'clean'): own.value for corruption, own in scores.items()})
