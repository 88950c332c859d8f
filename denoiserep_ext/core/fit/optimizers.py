"""The predictors' optimiser: made after the host's, and described for a resumed run to compare."""
from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn


def optimizer_like(host: torch.optim.Optimizer, lr: float, parameters: list[nn.Parameter],
                   kind: type[torch.optim.Optimizer] | None = None) -> torch.optim.Optimizer:
    """An optimiser of the host's settings for the predictors, without weight decay, which would pull
    them off their optimum.

    Args:
        host: The host's optimiser.
        lr: Learning rate.
        parameters: The predictors'.
        kind: Its type; the host's by default.
    """
    kind = kind or type(host)
    accepted = inspect.signature(kind).parameters
    settings = {name: value for name, value in host.defaults.items() if name in accepted}
    settings.update(lr=lr)
    if 'weight_decay' in settings:
        settings['weight_decay'] = 0.0
    return kind(parameters, **settings)


def described(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's type and settings as plain Python."""
    settings = {name: tuple(value) if isinstance(value, list) else value
                for name, value in optimizer.defaults.items()}
    plain = {name: value for name, value in settings.items()
             if value is None or isinstance(value, (bool, int, float, str, tuple))}
    return {'type': type(optimizer).__name__, **plain}
