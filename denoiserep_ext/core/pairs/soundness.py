"""Models and features that a walk refuses."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..trees import tensors_in
from .collecting import Place
from .regression import PairSums


def require_finite(place: Place, halves: Sequence[Sequence[PairSums]]) -> None:
    for sums in (each for half in halves for each in half if each.count):
        if not all(value.isfinite().all() for value in (
                sums.cross, sums.square, sums.moments.total, sums.moments.scale)):
            raise FloatingPointError(
                f'{place.name}: its input or output had non-finite values (NaN or infinity), so nothing '
                f'can be fitted. Check the model and the images.')


def require_independent(one: Any, several: Any) -> None:
    """Refuse a model whose output is not finite, or depends for an image on the images beside it."""
    for alone, beside in zip(tensors_in(one), tensors_in(several)):
        if not alone.is_floating_point() or not alone.dim() or alone.shape[1:] != beside.shape[1:]:
            continue
        beside = beside[:len(alone)]
        if not beside.isfinite().all():
            raise FloatingPointError('The model gives non-finite values (NaN or infinity) for clean '
                                     'images, so there is no target to fit. Check it and the images.')
        if not torch.allclose(alone, beside, rtol=1e-2, atol=1e-2 * beside.abs().max().item()):
            raise ValueError('What the model gives for an image depends on the other images of its '
                             'batch, so worse and clean images cannot be compared. Put it in '
                             'evaluation mode, or leave such layers out.')
