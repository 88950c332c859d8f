"""Draws of a layer: which positions are looked at, and with which noise."""
from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..processes import process_share

if TYPE_CHECKING:
    from .layers import DenoiseLayer


def seeded(layer: DenoiseLayer, purpose: str, call: int, device: torch.device,
           shared: bool = False) -> torch.Generator:
    """A generator that depends on nothing but seed, rank, layer, purpose and call number: global
    generators stay untouched, and a resumed run draws what an uninterrupted one would.

    Args:
        shared: The same on every rank.
    """
    rank = 0 if shared else process_share()[0]
    key = (layer.denoise_config.seed, rank, layer.index, ord(purpose[0]), call)
    return torch.Generator(device=device).manual_seed(hash(key) & (2**63 - 1))


def draw(layer: DenoiseLayer, x: Tensor, tokens: int | None, purpose: str, call: int) -> Tensor:
    count = layer.count_vectors(x)
    if tokens is None or count <= tokens:
        return layer.feature_vectors(x)
    rows = torch.randint(count, (tokens,), generator=seeded(layer, purpose, call, torch.device('cpu')))
    return layer.feature_vectors(x, rows.to(x.device))
