"""BatchNorm statistics re-estimated from images: the simplest remedy for a change of images."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def norms_of(model: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers of a model that keep statistics."""
    return [module for module in model.modules()
            if isinstance(module, _BatchNorm) and module.running_mean is not None]


@torch.no_grad()
def adapt_norms_(model: nn.Module, batches: Iterable[Any],
                 forward: Callable[[nn.Module, Any], Any] | None = None) -> int:
    """Replace the statistics of every BatchNorm by those of the given images, in place, without labels.

    Nothing else changes, and all other modules stay in evaluation mode meanwhile. Layers that no image
    reaches keep theirs. A layer takes the mean over batches of their means and variances, so batches
    should be large and alike: mix images of different kinds within a batch.

    Args:
        model: A trained model; it is in evaluation mode afterwards.
        batches: Images as ``forward`` takes them.
        forward: ``(model, batch) -> anything``; ``model(batch)`` by default.

    Returns:
        How many layers were given new statistics.

    Raises:
        ValueError: if the model has no BatchNorm that keeps statistics, or no image reaches one.
        FloatingPointError: if statistics are not finite; the model is left as it was.

    Source: Schneider et al., *Improving robustness against common corruptions by covariate shift
    adaptation*, NeurIPS 2020, without their mixture with the trained statistics.
    """
    norms = norms_of(model)
    if not norms:
        raise ValueError('The model has no BatchNorm with statistics: there is nothing to adapt.')
    before = [{name: value.clone() for name, value in norm.named_buffers()} for norm in norms]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    adapted: list[_BatchNorm] = []
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.train()
        for batch in batches:
            model(batch) if forward is None else forward(model, batch)
        reached = [norm for norm in norms if norm.num_batches_tracked > 0]
        if not reached:
            raise ValueError('No image reached a BatchNorm: there are no statistics to take.')
        for norm in reached:
            if not (norm.running_mean.isfinite().all() and norm.running_var.isfinite().all()):
                raise FloatingPointError('Statistics of BatchNorm are not finite.')
        adapted = reached
    finally:
        for norm, buffers, momentum in zip(norms, before, momenta):
            if norm not in adapted:
                for name, value in buffers.items():
                    getattr(norm, name).copy_(value)
            norm.momentum = momentum
            norm.eval()
    return len(adapted)
