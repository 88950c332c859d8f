"""The denoising layers of a model."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from .denoise_layer import DenoiseLayer


def denoise_layers(model: nn.Module) -> Iterator[tuple[str, DenoiseLayer]]:
    """Names and converted layers of a model, in definition order."""
    for name, module in model.named_modules():
        if isinstance(module, DenoiseLayer):
            yield name, module


def denoise_aliases(model: nn.Module) -> dict[str, list[str]]:
    """All names of every converted layer by its first one. A state dict lists a module that several
    parents share (the branches of a detection head, say) once under each."""
    first = {id(layer): name for name, layer in denoise_layers(model)}
    aliases: dict[str, list[str]] = {name: [] for name in first.values()}
    for name, module in model.named_modules(remove_duplicate=False):
        if id(module) in first:
            aliases[first[id(module)]].append(name)
    return aliases


def require_denoise_layers(model: nn.Module) -> list[tuple[str, DenoiseLayer]]:
    """Like :func:`denoise_layers`, as a list that is not empty.

    Raises:
        ValueError: if the model has no converted layer.
    """
    layers = list(denoise_layers(model))
    if not layers:
        raise ValueError(
            f'{type(model).__name__} has no denoising layers: call convert_ on it first (a fused '
            f'model has none either).')
    return layers


@contextmanager
def explicit_path(model: nn.Module) -> Iterator[None]:
    """Within the context, converted layers denoise their features and then apply themselves, the
    unfused reference path."""
    layers = require_denoise_layers(model)
    before = [(layer.train_path, layer.eval_path) for _, layer in layers]
    try:
        for _, layer in layers:
            layer.train_path = layer.eval_path = 'explicit'
        yield
    finally:
        for (_, layer), paths in zip(layers, before):
            layer.train_path, layer.eval_path = paths
