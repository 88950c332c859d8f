"""What a converted layer does with its input while moments are collected."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..layer.layers import DenoiseLayer
from ..layer.sampling import draw, seeded
from .moments import Moments


class MomentObserver:
    """Accumulates moments of a layer's input.

    Args:
        layer: The layer it will observe.
        tokens: Feature vectors drawn per call (uniformly, with replacement: unbiased); None for
            all of them.
        dtype: Precision of the products, see :class:`Moments`.
        every: Look at every so many calls only, and whenever there are no moments yet.
    """

    def __init__(self, layer: DenoiseLayer, tokens: int | None = None,
                 dtype: torch.dtype = torch.float64, every: int = 1) -> None:
        self.tokens, self.every, self.calls = tokens, every, 0
        self.moments = Moments(layer.denoiser.groups, layer.denoiser.channels, layer.weight.device,
                               dtype)

    @torch.no_grad()
    def __call__(self, layer: DenoiseLayer, x: Tensor) -> None:
        self.calls += 1
        if self.moments.count and (self.calls - 1) % self.every:
            return
        with torch.autocast(x.device.type, enabled=False):
            self.moments.update(draw(layer, x, self.tokens, 'moments', self.calls))


@dataclass
class CurrentBatch:
    """Which batch of a pass is under way.

    Attributes:
        number: Its place in the whole pass, over all processes that share it: draws depend on it.
        images: Images in it.
        counts: Whether it enters the moments; if not, they take their centre and scale from it.
    """

    number: int = 0
    images: int = 1
    counts: bool = True


class PassObserver:
    """Accumulates moments over a pass, the same ones however processes share its batches.

    Args:
        layer: The layer it will observe.
        batch: What is under way, kept up by whoever drives the pass.
        tokens: Feature vectors drawn per image (uniformly, with replacement: unbiased); None for all.
        dtype: Precision of the products, see :class:`Moments`.
    """

    def __init__(self, layer: DenoiseLayer, batch: CurrentBatch, tokens: int | None,
                 dtype: torch.dtype) -> None:
        self.batch, self.tokens = batch, tokens
        self.moments = Moments(layer.denoiser.groups, layer.denoiser.channels, layer.weight.device,
                               dtype)

    @torch.no_grad()
    def __call__(self, layer: DenoiseLayer, x: Tensor) -> None:
        with torch.autocast(x.device.type, enabled=False):
            vectors = layer.feature_vectors(x, self._rows(layer, x))
            if self.batch.counts:
                self.moments.update(vectors)
            elif self.moments.reference is None:
                self.moments.centre_(vectors)

    def _rows(self, layer: DenoiseLayer, x: Tensor) -> Tensor | None:
        count, images = layer.count_vectors(x), self.batch.images
        if self.tokens is None:
            return None
        # Where rows do not fall evenly on images (regions of interest, say), all are drawn from alike.
        parts = images if count % images == 0 else 1
        each, wanted = count // parts, self.tokens * images // parts
        if each <= wanted:
            return None
        generator = seeded(layer, 'pass', self.batch.number, torch.device('cpu'), shared=True)
        rows = torch.randint(each, (parts, wanted), generator=generator)
        return (rows + each * torch.arange(parts).unsqueeze(1)).flatten().to(x.device)
