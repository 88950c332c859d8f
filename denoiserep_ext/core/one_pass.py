"""Every predictor's optimum from one label-free forward pass."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .layers import require_denoise_layers
from .observers import MomentObserver
from .optimum import Optimum


@contextmanager
def observing(model: nn.Module, tokens: int | None = None):
    """Within the context every forward of ``model`` adds to the moments it yields, name by name;
    the model runs as in evaluation, on its plain features."""
    layers = require_denoise_layers(model)
    modes = [(module, module.training) for module in model.modules()]
    before = [(layer.observers, layer.observing, layer.train_path) for _, layer in layers]
    observers = {name: MomentObserver(layer, tokens) for name, layer in layers}
    try:
        model.eval()
        for name, layer in layers:
            layer.training = True  # observe; a Linear or Conv2d computes the same in both modes
            layer.observers, layer.observing, layer.train_path = (observers[name], ), True, 'plain'
        yield {name: observer.moments for name, observer in observers.items()}
    finally:
        for (_, layer), state in zip(layers, before):
            layer.observers, layer.observing, layer.train_path = state
        for module, training in modes:
            module.training = training


@torch.no_grad()
def fit_one_pass_(model: nn.Module, batches: Iterable[Any], tokens: int | None = None,
                  forward: Callable[[nn.Module, Any], Any] | None = None) -> dict[str, float]:
    """Fit every predictor in one label-free forward pass, in place.

    The model's weights, mode and BatchNorm statistics stay as they were.

    Args:
        model: A converted model.
        batches: Inputs; a tuple or list counts as ``(input, ...)`` and its rest (labels) is ignored.
            Wrap it in a progress bar of your choice.
        tokens: Feature vectors drawn per layer and batch; None uses all.
        forward: How to run one batch, ``forward(model, batch)``; by default the input is moved to
            the model's device and the model is called with it.

    Returns:
        The denoising loss each layer now has, by name, equal to its floor.

    Raises:
        ValueError: if nothing is converted, a predictor is low-rank, or there are no batches.
        FloatingPointError: naming a layer whose features were not finite; nothing is changed then.
    """
    layers = require_denoise_layers(model)
    for name, layer in layers:
        if layer.denoiser.rank is not None:
            raise ValueError(f'{name}: a low-rank predictor is trained, not solved; convert with '
                             f'rank=None.')
    with observing(model, tokens) as moments:
        for batch in batches:
            (forward or _call)(model, batch)
    reduced = {name: moments[name].reduced() for name, _ in layers}
    unseen = [name for name, _ in layers if reduced[name].reference is None]
    if unseen:
        raise ValueError(
            f'No features reached {", ".join(unseen[:3])}{" ..." if len(unseen) > 3 else ""}: there '
            f'were no batches, or the model does not use these layers (leave them out).')
    optima = {name: Optimum(layer, reduced[name]) for name, layer in layers}
    for name, layer in layers:
        layer.denoiser.set_(optima[name].weight, optima[name].bias)
    return {name: optimum.floor() for name, optimum in optima.items()}


def _call(model: nn.Module, batch: Any) -> Any:
    x = batch[0] if isinstance(batch, (tuple, list)) else batch
    device = next(model.parameters()).device
    return model(x.to(device))
