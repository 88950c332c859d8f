"""When and how predictors learn while a host trains: the options every adapter offers."""
from __future__ import annotations

import math
from dataclasses import dataclass

from ..checks import integer


@dataclass(frozen=True)
class LearningOptions:
    """When and how predictors learn while a host trains.

    Args:
        interval: Iterations between solvings and between figures in the log (>= 1). The first ones
            come early: after 1, 2, 4, 8, ... iterations.
        moment_tokens: Feature vectors drawn per layer and iteration for the moments; None for all.
        moment_interval: Iterations between such draws (>= 1). By default every 4th one in ``'joint'``,
            where they would slow training down, and every one otherwise.
        decay: How much moments of the past count after each solving, in [0, 1].
        fold_interval: Iterations between foldings in training (>= 1). With 1 every step trains through
            ``W'`` exactly. With more, ``W' - W`` is kept in between and added, and the gradient by
            ``W'`` is taken for that by ``W``, which is cheaper. Evaluation and checkpoints always fold
            exactly.
        loss_weight: For ``solver='sgd'``: weight of the summed denoising loss, > 0.
        lr_mult: For ``solver='sgd'``: predictors' learning rate over the host's, > 0.

    Raises:
        ValueError: for a value out of range.
    """

    interval: int = 100
    moment_tokens: int | None = 256
    moment_interval: int | None = None
    decay: float = 0.9
    fold_interval: int = 1
    loss_weight: float = 0.01
    lr_mult: float = 1.0

    def __post_init__(self) -> None:
        for name in ('interval', 'fold_interval', 'moment_interval', 'moment_tokens'):
            value = getattr(self, name)
            if value is None and name.startswith('moment'):
                continue
            object.__setattr__(self, name, integer(name, value, 1))
        if not 0.0 <= self.decay <= 1.0:
            raise ValueError(f'decay must lie in [0, 1], got {self.decay!r}.')
        for name in ('loss_weight', 'lr_mult'):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0.0 < value < math.inf:
                raise ValueError(f'{name} must be a finite number > 0, got {value!r}.')

    def every(self, recipe: str) -> int:
        """Iterations between draws for the moments."""
        if self.moment_interval is not None:
            return self.moment_interval
        return 4 if recipe == 'joint' else 1
