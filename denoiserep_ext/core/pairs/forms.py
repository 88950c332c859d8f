"""What may change in a layer: all of it, or less."""
from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor

from .collecting import Place
from .regression import System


def solver(form: str, place: Place) -> Callable[[System, float], Tensor]:
    """How a layer's system is solved: ``(system, ridge) -> step`` [G, o, d].

    Args:
        form: See :class:`~denoiserep_ext.PairConfig`.
        place: The layer.
    """
    if form in ('patch', 'pointwise'):
        return System.solve
    if form == 'bias':
        return lambda system, _ridge: torch.zeros_like(system.cross)
    groups, inputs, outputs = place.positions.sizes
    weight = place.layer.weight.double().reshape(groups, outputs, inputs)
    if place.skip:
        weight = weight * place.exit.scale.double().reshape(groups, outputs, 1)

    def scale(system: System, ridge: float) -> Tensor:
        """The best factor on each output: ``Cov(lack, y) / Var(y)`` with ``y = W x``, less the 1."""
        if ridge == inf:
            return torch.zeros_like(system.cross)
        variance = ((weight @ system.inputs) * weight).sum(-1, keepdim=True)
        factor = (system.cross * weight).sum(-1, keepdim=True)
        power = (1 + ridge) * variance
        return torch.where(power > 0, factor / power.clamp_min(1e-300), 0.0) * weight

    return scale
