"""What a converted layer does with its input while moments are collected."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..layer.layers import DenoiseLayer
from ..layer.sampling import draw
from .moments import ACCURACY, Moments, resolution


class MomentObserver:
    """Accumulates moments of a layer's input.

    Args:
        layer: The layer it will observe.
        moment_tokens: Feature vectors drawn per call, whatever its images are (uniformly, with
            replacement: unbiased); None for all of them.
        dtype: Precision of the products, see :class:`Moments`.
        every: Look at every so many calls only, and whenever there are no moments yet.
    """

    def __init__(self, layer: DenoiseLayer, moment_tokens: int | None = None,
                 dtype: torch.dtype = torch.float64, every: int = 1) -> None:
        self.moment_tokens, self.every, self.calls = moment_tokens, every, 0
        self.moments = Moments(layer.denoiser.groups, layer.denoiser.channels, layer.weight.device,
                               dtype)

    @torch.no_grad()
    def __call__(self, layer: DenoiseLayer, x: Tensor) -> None:
        self.calls += 1
        if self.moments.count and (self.calls - 1) % self.every:
            return
        with torch.autocast(x.device.type, enabled=False):
            self.moments.update(draw(layer, x, self.moment_tokens, 'moments', self.calls))


@dataclass
class CurrentBatch:
    """Which batch of a pass is current.

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
        batch: The current one, kept up by whoever runs the pass.
        tokens: Feature vectors drawn per image (uniformly, with replacement: unbiased); None for all.
        dtype: Precision of the products; None for what the noise at the layer's step takes.
    """

    def __init__(self, layer: DenoiseLayer, batch: CurrentBatch, tokens: int | None,
                 dtype: torch.dtype | None) -> None:
        self.batch, self.tokens = batch, tokens
        self.moments = _moments(layer, dtype)

    @torch.no_grad()
    def __call__(self, layer: DenoiseLayer, x: Tensor) -> None:
        batch = self.batch
        with torch.autocast(x.device.type, enabled=False):
            vectors = draw(layer, x, self.tokens, 'pass', batch.number, batch.images, shared=True)
            if batch.counts:
                self.moments.update(vectors)
            elif self.moments.reference is None:
                self.moments.centre_(vectors)


def _moments(layer: DenoiseLayer, dtype: torch.dtype | None) -> Moments:
    noise = math.inf
    if dtype is None:
        dtype = torch.float64 if layer.weight.dtype == torch.float64 else torch.float32
        share = 1 - layer.coefficients.alpha_bar
        if layer.denoise_config.noise == 'unit':
            noise = share or math.inf
        elif 0 < share < resolution(dtype) / ACCURACY:
            dtype = torch.float64  # whatever the features are
    return Moments(layer.denoiser.groups, layer.denoiser.channels, layer.weight.device, dtype, noise)
