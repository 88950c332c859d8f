"""What a model costs: time in turns, tensor operations, numbers held."""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..core.layer.layers import denoise_layers


def numbers_held(model: nn.Module, fold_interval: int = 1) -> float:
    """Numbers held while training over those of the plain model: weights, predictors, and what folding
    adds where not every step folds.

    Args:
        model: A converted model.
        fold_interval: Iterations between folds.
    """
    layers = [layer for _, layer in denoise_layers(model)]
    denoisers = [layer.denoiser for layer in layers]
    predictors = sum(tensor.numel() for denoiser in denoisers
                     for tensor in denoiser.state_dict().values() if tensor.dim())
    added = 0 if fold_interval == 1 else sum(
        p.numel() for layer in layers for p in (layer.weight, layer.bias) if p is not None)
    trained = sum(p.numel() for denoiser in denoisers for p in denoiser.parameters())
    plain = sum(p.numel() for p in model.parameters()) - trained
    return (plain + predictors + added) / plain


@torch.inference_mode()
def inference_costs(ours: nn.Module, theirs: nn.Module, images: torch.Tensor,
                    repeats: int = 20) -> dict[str, Any]:
    """Time of our forward over theirs, and the tensor operations of both, see :func:`inference`."""
    medians = in_turns({'ours': lambda: ours(images), 'stock': lambda: theirs(images)}, repeats)
    return {'time': medians['ours'] / medians['stock'],
            'operators': [count_operators(module, images) for module in (ours, theirs)]}


@torch.no_grad()
def count_operators(module: nn.Module, *inputs: Any) -> int:
    """Tensor operations that one forward dispatches."""
    counter = _Counter()
    with counter:
        module(*inputs)
    return counter.count


class _Counter(TorchDispatchMode):

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.count += 1
        return operator(*args, **(kwargs or {}))


def in_turns(calls: dict[str, Callable[[], Any]], repeats: int, warmup: int = 2) -> dict[str, float]:
    """Median seconds of each call, called in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warmup + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= warmup:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
