"""A backbone converted where it is built."""
from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from ..core.layer.conversion import convert_
from ..core.layer.fusion import fuse_
from ..core.layer.layers import denoise_layers
from ..registry import MODELS
from .options import denoise_config


@MODELS.register_module()
def DenoiseRepBackbone(backbone: dict | nn.Module, **denoise: Any) -> nn.Module:
    """Build a backbone and convert it; the result *is* the backbone, so keys have no prefix.

    Its predictors wait for :class:`DenoiseRepHook` to train them: until then the backbone computes
    what it always did, and plain or fused checkpoints load into it strictly.

    Args:
        backbone: Config (or module) of the inner backbone.
        **denoise: Settings of :class:`~denoiserep_ext.DenoiseRepConfig`.

    Raises:
        ValueError: for an unknown setting or if nothing is converted.
    """
    config = denoise_config(denoise)
    module = MODELS.build(backbone) if isinstance(backbone, dict) else backbone
    convert_(module, config)
    for _, layer in denoise_layers(module):
        # Not parameters yet: the host builds its optimiser and DDP wrapper from this module.
        layer.denoiser.trainable_(False)
    module.switch_to_deploy = partial(_switch_to_deploy, module,
                                      getattr(module, 'switch_to_deploy', None))
    return module


def _switch_to_deploy(module: nn.Module, inner=None) -> None:
    """Fuse, then let the backbone simplify itself if it can: what mmpretrain's tool calls."""
    fuse_(module)
    if inner is not None:
        inner()
