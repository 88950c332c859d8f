"""Small builders that several tests need."""
from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, convert_
from denoiserep_ext.core.fit.moments import Moments
from denoiserep_ext.core.fit.optimum import Optimum
from denoiserep_ext.core.layer.layers import DenoiseLayer, denoise_layers


def randomise_(model: nn.Module, scale: float = 1.0, seed: int = 0) -> nn.Module:
    """Give every predictor of a converted model random, fitted values."""
    generator = torch.Generator().manual_seed(seed)
    for _, layer in denoise_layers(model):
        predictor = layer.denoiser
        with torch.no_grad():
            for name in predictor._names:
                tensor = getattr(predictor, name)
                tensor.copy_(scale * torch.randn(tensor.shape, generator=generator,
                                                 dtype=tensor.dtype))
            predictor.fitted.fill_(1.0)
    return model


def converted(layer: nn.Module, **options) -> DenoiseLayer:
    """A single layer, converted at step 500 with the full step unless told otherwise."""
    options = {'layers': 'all', 'steps': (500, ), 'update': 'posterior', **options}
    model = nn.Sequential(layer)
    convert_(model, DenoiseRepConfig(**options))
    return model[0]


def moments_of(x: torch.Tensor, **options) -> Moments:
    """Moments of feature vectors [n, G, d]."""
    moments = Moments(*x.shape[1:], **options)
    moments.update(x)
    return moments


def solve_layer_(layer: DenoiseLayer, moments: Moments) -> Optimum:
    """Set one layer's predictor to its optimum."""
    optimum = Optimum(layer, moments)
    layer.denoiser.set_(optimum.weight, optimum.bias)
    return optimum


def first_of(values: Iterable, count: int = 1) -> list:
    """Parameters of a test, the first ones by default and all of them with ``--all``."""
    return [value if place < count else pytest.param(*(value if isinstance(value, tuple) else [value]),
                                                     marks=pytest.mark.matrix)
            for place, value in enumerate(values)]


class TinyNet(nn.Module):
    """A residual block, an MLP block, BatchNorm and dropout: something of everything."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.block = BasicBlock(width)
        self.dropout = nn.Dropout(0.5)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        x = self.block(self.stem(x)).mean((2, 3))
        return self.head(x + self.mlp(self.dropout(x)))


class BasicBlock(nn.Module):
    """Two convs with BatchNorm and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=2, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


# In front of a program that a test interrupts: who runs the tests may have them ignore signals (nohup, a
# job in the background), and what is ignored at its start a shell cannot trap.
HEARING = ('env', '--default-signal=HUP,INT,TERM')
