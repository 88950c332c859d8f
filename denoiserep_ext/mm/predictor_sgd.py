"""The hook's options that ``solver='sgd'`` alone needs."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS
from torch import nn

from ..core.fit.optimizers import optimizer_like


@dataclass(frozen=True)
class SGDOptions:
    """How predictors are trained, as far as the config says; None is not given.

    Args:
        optimizer: Config of their optimiser.
        lr_mult: Their learning rate over the host's, > 0; ``optimizer`` has a rate of its own.
        loss_weight: Weight of the summed denoising loss, > 0.

    Raises:
        ValueError: for an optimiser without a type, or one beside ``lr_mult``.
    """

    optimizer: dict | None
    lr_mult: float | None
    loss_weight: float | None

    def __post_init__(self) -> None:
        if self.optimizer is None:
            return
        if not isinstance(self.optimizer, dict) or 'type' not in self.optimizer:
            raise ValueError(f"optimizer must be a dict with a type, as in "
                             f"dict(type='SGD', lr=0.01), got {self.optimizer!r}.")
        if self.lr_mult is not None:
            raise ValueError("lr_mult is a multiple of the host's learning rate, and optimizer has its "
                             'own: give one of the two.')

    def check(self, solver: str) -> None:
        """Refuse options that the solver would ignore.

        Raises:
            ValueError: naming one.
        """
        for name, value in vars(self).items():
            if value is not None and solver != 'sgd':
                raise ValueError(f"{name} belongs to solver='sgd', not to {solver!r}.")

    def learning(self) -> dict[str, float]:
        """Those given that :class:`~denoiserep_ext.core.fit.learning.LearningOptions` takes."""
        given = {'lr_mult': self.lr_mult, 'loss_weight': self.loss_weight}
        return {name: value for name, value in given.items() if value is not None}

    def build(self, host: OptimWrapper, lr_mult: float,
              parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The predictors' optimiser: as configured, or like the host's."""
        if self.optimizer is not None:
            return OPTIMIZERS.build({**self.optimizer, 'params': parameters})
        return optimizer_like(host.optimizer, host.optimizer.defaults['lr'] * lr_mult, parameters)
