"""Which layer types can hold a predictor, and how each uses its weight.

A layer qualifies when its whole forward is ``apply(layer, x, layer.weight, layer.bias)``. That is
known for nn.Linear and nn.Conv2d and for subclasses that inherit their forward; a subclass with a
forward of its own may standardise, mask or pad, so it has to be registered by whoever knows.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

ApplyFn = Callable[[nn.Module, Tensor, Tensor, 'Tensor | None'], Tensor]


@dataclass(frozen=True)
class LayerType:
    """How a layer type applies a weight.

    Attributes:
        apply: ``(layer, x, weight, bias) -> y``.
        channel_dim: Dimension of ``x`` that holds the channels, counted from the end.
        spatial: Whether the weight is [out, in / groups, kh, kw] rather than [out, in].
    """

    apply: ApplyFn
    channel_dim: int
    spatial: bool


def _apply_linear(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x, weight, bias)


def _apply_conv2d(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return layer._conv_forward(x, weight, bias)


LINEAR = LayerType(_apply_linear, channel_dim=-1, spatial=False)
CONV2D = LayerType(_apply_conv2d, channel_dim=-3, spatial=True)

_BASES = ((nn.Linear, LINEAR, ('forward',)), (nn.Conv2d, CONV2D, ('forward', '_conv_forward')))
_registered: dict[type, LayerType] = {}


def register_layer_type(cls: type, layer_type: LayerType) -> None:
    """Declare that ``cls.forward`` is ``layer_type.apply`` with the layer's own weight and bias.

    Args:
        cls: A module class with ``weight`` and ``bias`` attributes.
        layer_type: How it applies them; ``LINEAR`` and ``CONV2D`` serve wrappers.
    """
    _registered[cls] = layer_type


def layer_type_of(cls: type) -> LayerType | None:
    """The layer type of a class, or None where its forward is not known to qualify."""
    if cls in _registered:
        return _registered[cls]
    for base, layer_type, methods in _BASES:
        if issubclass(cls, base) and all(getattr(cls, m) is getattr(base, m) for m in methods):
            return layer_type
    return None


def is_candidate(module: nn.Module) -> bool:
    """Whether a report should mention the module: an embedding layer, convertible or not."""
    return isinstance(module, (nn.Linear, nn.Conv2d)) or type(module) in _registered
