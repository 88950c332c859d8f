"""Settings from an mmengine config, with errors that name the option."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mmengine.config import Config

from ..core.layer.config import DenoiseRepConfig
from .images import name_of


def denoise_config(options: Mapping[str, Any], also: tuple[str, ...] = ()) -> DenoiseRepConfig:
    """A validated :class:`DenoiseRepConfig`.

    Args:
        options: Its settings.
        also: Names that the caller takes itself, for the error message.

    Raises:
        ValueError: naming an unknown option and the known ones.
    """
    known = [field.name for field in fields(DenoiseRepConfig)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f'Unknown DenoiseRep option {", ".join(map(repr, unknown))}; there are '
                         f'{", ".join(sorted({*known, *also}))}.')
    return DenoiseRepConfig(**options)


def target_of(hook: Mapping[str, Any]) -> str:
    """The part of the model that a hook's options convert."""
    if hook.get('target') is not None:
        return hook['target']
    return '' if isinstance(hook.get('layers'), Mapping) else 'backbone'


def without_denoiserep(cfg: Config) -> Config:
    """The config of the plain model: no DenoiseRepHook, the inner one of a DenoiseRepBackbone."""
    plain = Config(cfg.to_dict())
    plain.custom_hooks = [hook for hook in plain.get('custom_hooks') or []
                          if name_of(hook) != 'DenoiseRepHook']
    backbone = plain.get('model', {}).get('backbone')
    if backbone is not None and name_of(backbone) == 'DenoiseRepBackbone':
        plain.model.backbone = backbone['backbone']
    return plain
