"""Which layer types can hold a predictor, and how each uses its weight.

A layer qualifies when its whole forward is ``apply(layer, x, layer.weight, layer.bias)``. That is
known for nn.Linear and nn.Conv2d and for subclasses that inherit their forward; a subclass with a
forward of its own may standardise, mask or pad, so it has to be registered by whoever knows.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

ApplyFn = Callable[[nn.Module, Tensor, Tensor, 'Tensor | None'], Tensor]


def _pads(layer: nn.Module, size: Sequence[int]) -> Sequence[int]:
    return layer._reversed_padding_repeated_twice


def _pads_zeros(layer: nn.Module) -> bool:
    padding = getattr(layer, 'padding', 'valid')
    if padding == 'valid' or layer.padding_mode != 'zeros':
        return False
    return set(layer.kernel_size) != {1} if padding == 'same' else any(padding)


@dataclass(frozen=True)
class LayerType:
    """How a layer type applies a weight.

    Attributes:
        apply: ``(layer, x, weight, bias) -> y``.
        channel_dim: Dimension of ``x`` that holds the channels, counted from the end.
        spatial: Whether the weight is [out, in / groups, kh, kw] rather than [out, in].
        pads: ``(layer, (height, width)) -> (left, right, top, bottom)``, how far a spatial layer pads an
            input of that size.
        pads_zeros: ``(layer) -> bool``, whether the layer may see zeros that its input does not hold.
    """

    apply: ApplyFn
    channel_dim: int
    spatial: bool
    pads: Callable[[nn.Module, Sequence[int]], Sequence[int]] = _pads
    pads_zeros: Callable[[nn.Module], bool] = _pads_zeros


def _apply_linear(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x, weight, bias)


def _apply_conv2d(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return layer._conv_forward(x, weight, bias)


def _pads_same(layer: nn.Module, size: Sequence[int]) -> Sequence[int]:
    """TensorFlow's SAME: as many outputs as strides fit into the input, the odd zero last."""
    high, wide = (max((-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
                  for length, kernel, stride, dilation in zip(size, layer.kernel_size, layer.stride,
                                                              layer.dilation))
    return wide // 2, wide - wide // 2, high // 2, high - high // 2


def _apply_conv2d_same(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    pads = _pads_same(layer, x.shape[-2:])
    if any(pads):
        x = F.pad(x, pads)
    return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)


LINEAR = LayerType(_apply_linear, channel_dim=-1, spatial=False)
CONV2D = LayerType(_apply_conv2d, channel_dim=-3, spatial=True)
CONV2D_SAME = LayerType(_apply_conv2d_same, channel_dim=-3, spatial=True, pads=_pads_same,
                        pads_zeros=lambda layer: set(layer.kernel_size) != {1})

_BASES = ((nn.Linear, LINEAR, ('forward',)), (nn.Conv2d, CONV2D, ('forward', '_conv_forward')))
_registered: dict[type, LayerType] = {}
# timm has no adapter that could register them: known by name, so that nobody needs to import timm.
_BY_NAME = {'timm.layers.conv2d_same.Conv2dSame': CONV2D_SAME, 'timm.layers.linear.Linear': LINEAR}


def register_layer_type(cls: type, layer_type: LayerType) -> None:
    """Declare that ``cls.forward`` is ``layer_type.apply`` with the layer's own weight and bias.

    Args:
        cls: A module class with ``weight`` and ``bias`` attributes.
        layer_type: How it applies them; ``LINEAR`` and ``CONV2D`` serve wrappers, ``CONV2D_SAME``
            convs that pad by the size of their input as TensorFlow does.
    """
    _registered[cls] = layer_type


def layer_type_of(cls: type) -> LayerType | None:
    """The layer type of a class, or None where its forward is not known to qualify."""
    known = _registered.get(cls) or _BY_NAME.get(f'{cls.__module__}.{cls.__qualname__}')
    if known:
        return known
    for base, layer_type, methods in _BASES:
        if issubclass(cls, base) and all(getattr(cls, m) is getattr(base, m) for m in methods):
            return layer_type
    return None


def offset_allowed(layer: nn.Module, layer_type: LayerType) -> bool:
    """Whether a predictor in front of a layer of this type can have a bias: it commutes with the layer
    only if padding brings in no foreign zeros, and has a place to go only if the layer has a bias."""
    return layer.bias is not None and not layer_type.pads_zeros(layer)


def is_candidate(module: nn.Module) -> bool:
    """Whether a report should mention the module: an embedding layer, convertible or not."""
    return isinstance(module, (nn.Linear, nn.Conv2d)) or type(module) in _registered
