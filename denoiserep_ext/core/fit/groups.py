"""The one pass in several passes, for models whose moments do not fit into memory together."""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..layer.config import DenoiseRepConfig
from ..layer.conversion import plan
from ..layer.fusion import unconvert_
from ..layer.layers import denoise_layers
from .moments import Moments
from .one_pass import collect_moments, convert_to_fold_, solve_and_fuse_

BYTES = 8  # of a number


@torch.no_grad()
def denoise_in_groups_(model: nn.Module, batches: Iterable[Any], config: DenoiseRepConfig, memory: int,
                       **options: Any) -> dict[str, tuple[float, float]]:
    """Convert, fit, fold: one pass for each group of layers whose moments fit into ``memory``.

    The weights are those of one pass over all layers: every pass sees the trained model, draws the same
    features, and what has been denoised is put in at the end. In a process group each process gives
    batches of its own, and all solve from the sum.

    Args:
        model: A plain model, in evaluation mode afterwards as before; its layers are plain again at the
            end.
        batches: This process's inputs, the same in every pass; a list, say, or a DataLoader that does
            not shuffle.
        config: What to take out and where.
        memory: Bytes of moments that are held at a time, > 0. A layer that takes more has a pass of
            its own.
        **options: Of :func:`~denoiserep_ext.core.fit.one_pass.collect_moments`.

    Returns:
        By layer name the denoising loss, equal to its floor, and ``||W' - W|| / ||W||``.

    Raises:
        ValueError, FloatingPointError: see :func:`~denoiserep_ext.core.fit.one_pass.solve_and_fuse_`;
            the model is as it was then.
    """
    if memory <= 0:
        raise ValueError(f'memory must be above 0 bytes, got {memory}.')
    steps, _ = plan(model, config)
    places = {name: place for place, name in enumerate(steps)}
    results, denoised = {}, {}
    for group in groups(held_by(model, config), memory):
        layers = {name: model.get_submodule(name) for name in group}
        trained = _values(layers)
        convert_to_fold_(model, _of(config, {name: steps[name] for name in group}))
        try:
            for name, layer in layers.items():
                layer.index = places[name]  # what is drawn depends on it
            moments = collect_moments(model, batches, **options)
            for name in moments:
                moments[name] = moments[name].reduced()
            results.update(solve_and_fuse_(model, moments))
        finally:
            if any(True for _ in denoise_layers(model)):
                unconvert_(model)
        denoised.update(_values(layers))
        _put_(layers, trained)
    _put_({name: model.get_submodule(name) for name in denoised}, denoised)
    return results


def held_by(model: nn.Module, config: DenoiseRepConfig) -> dict[str, int]:
    """Bytes that the moments of each layer take, by name and in order; nothing is changed.

    Args:
        model: A plain model.
        config: What would be converted.
    """
    steps, report = plan(model, config)
    held = {layer.name: BYTES * Moments.size(layer.groups, layer.shape[1]) for layer in report.converted}
    return {name: held[name] for name in steps}


def groups(sizes: dict[str, int], memory: int) -> list[list[str]]:
    """Neighbours that fit into ``memory`` together.

    Args:
        sizes: Bytes by name, in order.
        memory: Bytes; whatever is larger stands alone.
    """
    made: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if size > room:
            made.append([])
            room = memory
        made[-1].append(name)
        room -= size
    return made


def _of(config: DenoiseRepConfig, steps: dict[str, int]) -> DenoiseRepConfig:
    """The same settings for some of the layers, each at the step it has among all."""
    config = replace(config, layers='|'.join(map(re.escape, steps)))
    if config.strength is not None:
        return config
    return replace(config, steps=tuple(steps.values()), step_stride=1)


def _values(layers: dict[str, nn.Module]) -> dict[str, list[Tensor]]:
    return {name: [p.clone() for p in layer.parameters(recurse=False)] for name, layer in layers.items()}


def _put_(layers: dict[str, nn.Module], values: dict[str, list[Tensor]]) -> None:
    for name, layer in layers.items():
        for parameter, value in zip(layer.parameters(recurse=False), values[name]):
            parameter.copy_(value)
