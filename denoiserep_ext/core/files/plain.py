"""Plain fused weights in a checkpoint, and under a key of its own what resuming needs."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..layer.fusion import fused_state_dict
from ..layer.layers import denoise_aliases

KEY = 'denoiserep'  # of the training state in a checkpoint


def pack(model: nn.Module, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Fuse a state dict of raw weights.

    Args:
        model: The converted model.
        state: Raw weights under its keys: its own, or an EMA copy's.

    Returns:
        The plain state dict, and the raw tensors of the converted layers under their keys.
    """
    prefixes = tuple(f'{name}.' if name else '' for name in _names(model))
    raw = {key: value for key, value in state.items() if key.startswith(prefixes)}
    return fused_state_dict(model, state), raw


def unpack(model: nn.Module, state: Mapping[str, Tensor],
           raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of raw weights that :func:`pack` was given.

    Raises:
        ValueError: if the checkpoint's converted layers are not the model's.
    """
    saved = converted_names(raw)
    present = _names(model)
    if saved != present:
        odd = sorted(saved ^ present)
        raise ValueError(
            f'The checkpoint was saved with another selection of layers or from another model: '
            f'{len(saved)} converted layers against {len(present)} here ({odd[0]!r} is only in one '
            f'of them). Resume with its options, or start a new run from its weights.')
    return {**state, **raw}


def converted_names(raw: Mapping[str, Tensor]) -> set[str]:
    """Names of the layers whose raw tensors these are: those with a predictor, ``''`` for a layer that
    was converted on its own."""
    last = '.denoiser.fitted'  # every predictor has one
    return {f'.{key}'.removesuffix(last)[1:] for key in raw if f'.{key}'.endswith(last)}


def _names(model: nn.Module) -> set[str]:
    return {alias for aliases in denoise_aliases(model).values() for alias in aliases}
