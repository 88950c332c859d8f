"""The released variants of VMamba."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from ..core.checks import integer

_S1 = {'ssm_ratio': 1.0}
_S2 = {'ssm_ratio': 2.0}
# s2l15 says ssm_ratio 2 and 15 blocks in the third stage.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    'tiny': {'dims': 96, 'depths': (2, 2, 8, 2), **_S1},
    'small': {'dims': 96, 'depths': (2, 2, 15, 2), **_S2},
    'base': {'dims': 128, 'depths': (2, 2, 15, 2), **_S2},
    'tiny-s2l5': {'dims': 96, 'depths': (2, 2, 5, 2), **_S2},
    'small-s1l20': {'dims': 96, 'depths': (2, 2, 20, 2), **_S1},
    'base-s1l20': {'dims': 128, 'depths': (2, 2, 20, 2), **_S1},
}
_OPTIONAL = {'ssm_ratio': 1.0, 'd_state': 1, 'dt_rank': 'auto', 'kernel_size': 3, 'mlp_ratio': 4.0}


def architecture(arch: str | Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a variant.

    Args:
        arch: See :class:`~denoiserep_ext.models.vmamba.VMamba`.

    Raises:
        ValueError: naming what cannot be.
    """
    if isinstance(arch, str) and arch in ARCHITECTURES:
        arch = ARCHITECTURES[arch]
    if not isinstance(arch, Mapping):
        raise ValueError(f'arch={arch!r}: choose {", ".join(ARCHITECTURES)}, or give a dict.')
    unknown = set(arch) - {'dims', 'depths', *_OPTIONAL}
    if unknown or 'dims' not in arch or 'depths' not in arch:
        raise ValueError(f'arch={dict(arch)!r}: it must have dims and depths, and may have '
                         f'{", ".join(_OPTIONAL)}.')
    settings = {**_OPTIONAL, **arch}
    settings['dims'] = integer('arch: dims', settings['dims'], 2)
    settings['depths'] = _depths(settings['depths'])
    for name in ('ssm_ratio', 'mlp_ratio'):
        settings[name] = _ratio(name, settings[name], settings['dims'])
    settings['d_state'] = integer('arch: d_state', settings['d_state'], 1)
    if settings['dt_rank'] != 'auto':
        settings['dt_rank'] = integer("arch: dt_rank, if not 'auto',", settings['dt_rank'], 1)
    settings['kernel_size'] = integer('arch: kernel_size', settings['kernel_size'], 1)
    if settings['kernel_size'] % 2 == 0:
        raise ValueError(f'arch: kernel_size={settings["kernel_size"]} must be odd.')
    return settings


def _depths(depths: Any) -> tuple[int, ...]:
    if isinstance(depths, str) or not isinstance(depths, Sequence) or not depths:
        raise ValueError(f'arch: depths={depths!r} must list the blocks of each stage.')
    return tuple(integer('arch: each of depths', depth, 1) for depth in depths)


def _ratio(name: str, value: Any, dims: int) -> float:
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or int(value * dims) < 1:
        raise ValueError(f'arch: {name}={value!r} must be a number that leaves at least one of {dims} '
                         f'channels.')
    return value
