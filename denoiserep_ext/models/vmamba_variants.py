"""The released variants of VMamba."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    if isinstance(arch, str):
        if arch not in ARCHITECTURES:
            raise ValueError(f'arch={arch!r}: choose {", ".join(ARCHITECTURES)}, or give a dict.')
        arch = ARCHITECTURES[arch]
    unknown = sorted(set(arch) - {'dims', 'depths', *_OPTIONAL})
    if unknown or 'dims' not in arch or not arch.get('depths'):
        raise ValueError(f'arch={dict(arch)!r}: it must have dims and depths, and may have '
                         f'{", ".join(_OPTIONAL)}.')
    settings = {**_OPTIONAL, **arch}
    kernel_size = settings['kernel_size']
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f'arch: kernel_size={kernel_size!r} must be odd and positive.')
    return settings
