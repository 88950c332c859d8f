"""Settings from an mmengine config, with errors that name the option."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..core.layer.config import DenoiseRepConfig


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
