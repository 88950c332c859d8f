"""Denoising layers back into plain ones, or into a plain state dict."""
from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .denoise_layer import DenoiseLayer
from .folding import relative_change
from .layers import denoise_aliases, denoise_layers, require_denoise_layers
from .loss import untrack_loss_
from .merging import merge_as_before_


def fuse_(model: nn.Module) -> nn.Module:
    """Fold every predictor into its layer, in place: the same plain model, keys, shapes and types.

    Computed in float64 and cast once. A model without denoising layers is returned as it is, so
    fusing twice is fusing once.

    Raises:
        ValueError: if a layer was parametrised, pruned or has lost its bias after the conversion.
        FloatingPointError: if any fused weight is not finite. No layer is changed then.
    """
    fused = [(layer, *_checked(name, layer)) for name, layer in denoise_layers(model)]
    untrack_loss_(model)
    merge_as_before_(model)
    for layer, weight, bias in fused:
        layer.detach_(weight, bias)
    return model


def unconvert_(model: nn.Module) -> nn.Module:
    """Take the predictors away without folding them in: the plain model as it was trained.

    Raises:
        ValueError: if a layer was parametrised or pruned after the conversion; no layer is changed then.
    """
    layers = list(denoise_layers(model))
    for name, layer in layers:
        layer.require_own_parameters(name or layer.denoise_name)
    untrack_loss_(model)
    merge_as_before_(model)
    for _, layer in layers:
        layer.detach_(layer.weight, layer.bias)
    return model


def fused_state_dict(model: nn.Module, state: Mapping[str, Tensor] | None = None,
                     prefix: str = '') -> dict[str, Tensor]:
    """The plain state dict the fused model would have; the model itself is not touched.

    Computed where the model is, for the same bits as :func:`hold_fused_`; what comes back is where
    ``state`` is.

    Args:
        model: A converted model.
        state: Values to use instead of the model's own, under its keys (an EMA copy's), on any device.
        prefix: Prefix of the model's keys in ``state``.

    Raises:
        ValueError: if nothing is converted, ``state`` lacks a converted layer's weights or predictor,
            or a layer was parametrised, pruned or has lost its bias after the conversion.
        FloatingPointError: if a fused weight is not finite.
    """
    layers, aliases = require_denoise_layers(model), denoise_aliases(model)
    state = dict(model.state_dict(prefix=prefix) if state is None else state)
    for name, layer in layers:
        layer.require_own_parameters(name or layer.denoise_name)
        denoiser = copy.deepcopy(layer.denoiser)
        for alias in aliases[name]:
            key = f'{prefix}{alias}.' if alias else prefix
            denoiser.load_state_dict(_taken_out(state, key))
            device = state[f'{key}weight'].device
            weight, bias = _checked(key.removesuffix('.'), layer,
                                    *(_moved(state.get(key + what), layer.weight.device)
                                      for what in ('weight', 'bias')), denoiser)
            state[f'{key}weight'] = weight.to(device)
            if bias is not None:
                state[f'{key}bias'] = bias.to(device)
    return state


def _moved(value: Tensor | None, device: torch.device) -> Tensor | None:
    return None if value is None else value.to(device)


def _taken_out(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    """The predictor of the layer under ``key``, which leaves ``state``."""
    inner = f'{key}denoiser.'
    taken = {k.removeprefix(inner): state.pop(k) for k in list(state) if k.startswith(inner)}
    if not taken or f'{key}weight' not in state:
        missing = f'{inner}*' if not taken else f'{key}weight'
        raise ValueError(f'The state has no {missing}: it is plain or fused already, or of another '
                         f'model or selection. Give the state dict of a converted model like this one.')
    return taken


def hold_fused_(model: nn.Module) -> None:
    """Compute the fused weights once and use them in evaluation until :func:`release_fused_`:
    bit for bit the weights a checkpoint saved at this moment would hold."""
    for name, layer in require_denoise_layers(model):
        layer.held = _checked(name, layer)


def release_fused_(model: nn.Module) -> None:
    """Let evaluation follow the layers' present weights again."""
    for _, layer in denoise_layers(model):
        layer.held = None


def hold_added_(model: nn.Module) -> None:
    """Let training add to the present and later weights what folding adds to the present ones, until the
    next call, instead of folding at every step."""
    for _, layer in denoise_layers(model):
        layer.hold_added_()


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
        sizes[name] = relative_change(layer.weight, layer.folded()[0])
    return sizes


def _checked(name: str, layer: DenoiseLayer, *source) -> tuple[Tensor, Tensor | None]:
    return layer.checked_tensors(name or layer.denoise_name, *source)
