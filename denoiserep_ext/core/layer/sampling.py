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


def draw(layer: DenoiseLayer, x: Tensor, tokens: int | None, purpose: str, call: int, images: int = 1,
         shared: bool = False) -> Tensor:
    """Feature vectors at drawn positions of a layer's input (uniformly, with replacement: unbiased).

    Args:
        layer: The layer.
        x: Its input.
        tokens: How many per image; None for all positions. Where there are no more, all are taken.
        purpose, call, shared: What the draw depends on, see :func:`seeded`.
        images: Images in ``x``. Each gives as many; where positions do not fall evenly on images
            (regions of interest, say), all are drawn from alike. 1 draws from the whole of ``x``.

    Returns:
        [n, G, d].
    """
    count = layer.count_vectors(x)
    parts = images if images and count % images == 0 else 1
    each = count // parts
    if tokens is None or each <= (wanted := tokens * images // parts):
        return layer.feature_vectors(x)
    generator = seeded(layer, purpose, call, torch.device('cpu'), shared)
    rows = torch.randint(each, (parts, wanted), generator=generator)
    rows += each * torch.arange(parts).unsqueeze(1)
    return layer.feature_vectors(x, rows.flatten().to(x.device))
