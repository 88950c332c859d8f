"""Denoising layers back into plain ones, or into a plain state dict."""
from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .layers import (
    DenoiseLayer,
    check_finite,
    denoise_aliases,
    denoise_layers,
    detach_,
    require_denoise_layers,
)
from .loss import untrack_loss_
from .merging import merge_as_before_


def fuse_(model: nn.Module) -> nn.Module:
    """Fold every predictor into its layer, in place: the same plain model, keys, shapes and types.

    Computed in float64 and cast once. A model without denoising layers is returned as it is, so
    fusing twice is fusing once.

    Raises:
        FloatingPointError: if any fused weight is not finite; then no layer is changed.
    """
    fused = [(layer, *_checked(name, layer)) for name, layer in denoise_layers(model)]
    untrack_loss_(model)
    merge_as_before_(model)
    for layer, weight, bias in fused:
        detach_(layer, weight, bias)
    return model


def unconvert_(model: nn.Module) -> nn.Module:
    """Take the predictors away without folding them in: the plain model as it was trained."""
    untrack_loss_(model)
    merge_as_before_(model)
    for _, layer in list(denoise_layers(model)):
        detach_(layer, layer.weight.detach(), None if layer.bias is None else layer.bias.detach())
    return model


def fused_state_dict(model: nn.Module, state: Mapping[str, Tensor] | None = None,
                     prefix: str = '') -> dict[str, Tensor]:
    """The plain state dict the fused model would have; the model itself is not touched.

    Args:
        model: A converted model.
        state: Values to use instead of the model's own, under its keys (an EMA copy's).
        prefix: Prefix of the model's keys in ``state``.

    Raises:
        ValueError: if nothing is converted.
        FloatingPointError: if a fused weight is not finite.
    """
    layers, aliases = require_denoise_layers(model), denoise_aliases(model)
    state = dict(model.state_dict(prefix=prefix) if state is None else state)
    for name, layer in layers:
        denoiser = copy.deepcopy(layer.denoiser)
        for alias in aliases[name]:
            key = f'{prefix}{alias}.' if alias else prefix
            inner = f'{key}denoiser.'
            denoiser.load_state_dict(
                {k.removeprefix(inner): state.pop(k) for k in list(state) if k.startswith(inner)})
            weight, bias = _checked(prefix + alias, layer, state[f'{key}weight'],
                                    state.get(f'{key}bias'), denoiser)
            state[f'{key}weight'] = weight
            if bias is not None:
                state[f'{key}bias'] = bias
    return state


def hold_fused_(model: nn.Module) -> None:
    """Compute the fused weights once and use them in evaluation until :func:`release_fused_`:
    bit for bit the weights a checkpoint saved at this moment would hold."""
    for name, layer in require_denoise_layers(model):
        layer.held = _checked(name, layer)


def release_fused_(model: nn.Module) -> None:
    """Let evaluation follow the layers' present weights again."""
    for _, layer in denoise_layers(model):
        layer.held = None


@contextmanager
def held_fused(model: nn.Module) -> Iterator[None]:
    """:func:`hold_fused_` for the length of a context."""
    hold_fused_(model)
    try:
        yield
    finally:
        release_fused_(model)


@torch.no_grad()
def step_sizes(model: nn.Module) -> dict[str, float]:
    """``||W' - W|| / ||W||`` of every converted layer: how much its denoising changes it."""
    sizes = {}
    for name, layer in require_denoise_layers(model):
        weight, _ = layer.folded()
        norm = layer.weight.norm()
        sizes[name] = ((weight - layer.weight).norm() / norm).item() if norm else 0.0
    return sizes


def _checked(name: str, layer: DenoiseLayer, *source) -> tuple[Tensor, Tensor | None]:
    weight, bias = layer.fused_tensors(*source)
    check_finite(name or layer.denoise_name, weight, bias)
    return weight, None if bias is None else bias.detach()
