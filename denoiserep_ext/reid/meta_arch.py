"""The meta-architecture ``DenoiseRep``: any registered one, converted."""
from __future__ import annotations

import logging

from fastreid.modeling.meta_arch import META_ARCH_REGISTRY
from torch import nn

from ..core.layer.conversion import convert_
from ..core.layer.layers import denoise_layers
from ..core.layer.selection import find_part
from .compat import names_in
from .config import settings_of

logger = logging.getLogger('fastreid.denoiserep')

REFUSED = {
    'DenoiseRep': 'it would convert itself',
    'Distiller': 'its losses run teachers beside it: distil first, then denoise the student with '
                 'META_ARCH Baseline',
}


@META_ARCH_REGISTRY.register()
def DenoiseRep(cfg) -> nn.Module:
    """Build ``MODEL.DENOISEREP.META_ARCH`` and convert it; the result *is* that model, so its keys are
    the stock ones and plain or fused checkpoints load into it. With noise that is shown it stays plain.

    Until predictors are fitted it computes what it always did. Predictors are buffers at first: the
    host builds its optimiser and DDP wrapper from this model, and they concern neither.

    Args:
        cfg: FastReID config with our keys, see
            :func:`~denoiserep_ext.reid.config.add_denoiserep_config`.

    Raises:
        ValueError: for an unknown or refused architecture, a setting that cannot be, or nothing to
            convert.
    """
    settings = settings_of(cfg)
    if settings.meta_arch in REFUSED:
        raise ValueError(f'MODEL.DENOISEREP.META_ARCH {settings.meta_arch}: '
                         f'{REFUSED[settings.meta_arch]}.')
    known = [name for name in names_in(META_ARCH_REGISTRY) if name not in REFUSED]
    if settings.meta_arch not in known:
        raise ValueError(f'MODEL.DENOISEREP.META_ARCH {settings.meta_arch!r} is not registered: there '
                         f'are {", ".join(known)}.')
    model = META_ARCH_REGISTRY.get(settings.meta_arch)(cfg)
    if settings.shown is not None:
        return model  # its layers are rewritten, and stay plain
    report = convert_(find_part(model, settings.target), settings.config)
    for name, layer in denoise_layers(model):
        layer.denoiser.trainable_(False)
        layer.denoise_name = name  # in full, for messages; convert_ knows its place in the part alone
    logger.info('DenoiseRep converts %s of %s (recipe %s, solver %s):\n%s',
                settings.target or 'all', settings.meta_arch, settings.recipe.name,
                settings.config.solver, report)
    return model
