"""Draws of a layer: which positions, and which noise."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from ..processes import process_share

_MASK = 2**64 - 1


def mix(*values: int) -> int:
    """One seed from several integers: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014) over
    each in turn. Unlike ``hash``, it is the same in every Python.

    Args:
        values: Integers >= 0; their order counts.

    Returns:
        A seed in 0 .. 2^63 - 1.
    """
    state = 0
    for value in values:
        state = (state + value + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def seeded(layer: nn.Module, purpose: str, call: int, device: torch.device,
           shared: bool = False) -> torch.Generator:
    """A generator that depends on nothing but seed, rank, layer, purpose and call number: global
    generators stay untouched, and a resumed run draws what an uninterrupted one would.

    Args:
        layer: The converted layer that draws.
        purpose: What it draws.
        call: Which draw of that purpose it is.
        device: Where the generator is to live.
        shared: The same on every rank.
    """
    rank = 0 if shared else process_share()[0]
    seed = mix(layer.denoise_config.seed, rank, layer.index,
               int.from_bytes(purpose.encode(), 'big'), call)
    return torch.Generator(device=device).manual_seed(seed)


def draw(layer: nn.Module, x: Tensor, tokens: int | None, purpose: str, call: int, images: int = 1,
         shared: bool = False) -> Tensor:
    """Feature vectors at drawn positions of a layer's input (uniformly, with replacement: unbiased).

    Args:
        layer: The converted layer.
        x: Its input; may be empty.
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
