"""Settings from an mmengine config, with errors that name the option."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from mmengine.config import Config

from ..core.layer.config import DenoiseRepConfig
from ..pairs.options import NOISE, refuse_shown
from .images import name_of


def denoise_config(options: Mapping[str, Any], also: tuple[str, ...] = ()) -> DenoiseRepConfig:
    """A validated :class:`DenoiseRepConfig`.

    Args:
        options: Its settings.
        also: Names that the caller takes itself, for the error message.

    Raises:
        ValueError: naming an option that is unknown or of noise that is shown.
    """
    refuse_shown(options, options.get('noise', 'unit'))
    known = [field.name for field in fields(DenoiseRepConfig)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f'Unknown DenoiseRep option {", ".join(map(repr, unknown))}; there are '
                         f'{", ".join(sorted({*known, *also}))}.')
    return DenoiseRepConfig(**options)


def selection_of(hook: Mapping[str, Any]) -> tuple[str, Any]:
    """What a hook's options convert: a part of the model, and the layers within it. Several targets
    are the whole model, with the same selection of layers in each. By default layers are ``'auto'``, and
    ``'all'`` where noise is shown.

    Raises:
        ValueError: for a target that names no part, or that and ``layers`` both naming several.
    """
    usual = 'all' if hook.get('noise') == NOISE else 'auto'
    target, layers = hook.get('target'), hook.get('layers', usual)
    if target is None:
        return '' if isinstance(layers, Mapping) else 'backbone', layers
    if isinstance(target, str):
        return target, layers
    if not isinstance(target, Sequence) or not target or not all(
            isinstance(name, str) for name in target):
        raise ValueError(f"target must be a part's name or a list of them, got {target!r}.")
    if isinstance(layers, Mapping):
        raise ValueError(f'layers names its parts itself ({", ".join(layers)}), and target names '
                         f'several, too ({", ".join(target)}): leave out target.')
    return '', dict.fromkeys(target, layers)


def without_denoiserep(cfg: Config) -> Config:
    """The config of the plain model: no DenoiseRepHook, the inner one of a DenoiseRepBackbone."""
    plain = Config(cfg.to_dict())
    plain.custom_hooks = [hook for hook in plain.get('custom_hooks') or []
                          if name_of(hook) != 'DenoiseRepHook']
    backbone = plain.get('model', {}).get('backbone')
    if backbone is not None and name_of(backbone) == 'DenoiseRepBackbone':
        plain.model.backbone = backbone['backbone']
    return plain
