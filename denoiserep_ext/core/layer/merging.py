"""Some blocks merge their layers for deployment (RepVGG its branches, LeViT its norms) and read the
layers' weights to do so: their predictors have to be fused before, or they would be lost unseen."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from .layers import DenoiseLayer

_MERGING = ('fuse', 'reparameterize', 'switch_to_deploy')  # what timm and mmpretrain call them


def fuse_before_merging_(model: nn.Module, fuse: Callable[[nn.Module], Any]) -> None:
    """Let every module that can merge its layers, and holds denoising ones, fuse those first.

    Args:
        model: A converted model.
        fuse: What fuses the denoising layers of a module, in place.
    """
    for module in model.modules():
        names = [name for name in _MERGING if callable(getattr(type(module), name, None))]
        if names and not isinstance(module, DenoiseLayer) and any(
                isinstance(inner, DenoiseLayer) for inner in module.modules()):
            for name in names:
                setattr(module, name, partial(_fuse_and_merge, fuse, module, name))


def merge_as_before_(model: nn.Module) -> None:
    """Take away what :func:`fuse_before_merging_` put in front of the modules' own methods."""
    for module in model.modules():
        for name in _MERGING:
            if getattr(vars(module).get(name), 'func', None) is _fuse_and_merge:
                delattr(module, name)


def _fuse_and_merge(fuse: Callable[[nn.Module], Any], module: nn.Module, name: str, *args: Any,
                    **options: Any) -> Any:
    fuse(module)
    return getattr(type(module), name)(module, *args, **options)
