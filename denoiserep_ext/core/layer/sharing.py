"""Parameters that use the same memory under different names."""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

Span = tuple[int, int, Tensor]  # first byte, end, whose


def uses_of_memory(model: nn.Module) -> Counter[int]:
    """How many parameters and buffers of a model use the memory of each: 1 for one that has its own.

    The same tensor in two modules counts as well as two tensors on one storage. Views of one buffer
    side by side (flattened parameters) do not count; memory is taken to reach from a tensor's first
    element to its last.

    Returns:
        Uses by ``id`` of the tensor.
    """
    uses: Counter[int] = Counter()
    spans: dict[int, list[Span]] = defaultdict(list)
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is None:
                continue
            uses[id(tensor)] += 1
            if not _has_memory(tensor):
                continue
            first = tensor.storage_offset() * tensor.element_size()
            spans[tensor.untyped_storage()._cdata].append((first, first + _extent(tensor), tensor))
            if _overlaps_itself(tensor):
                uses[id(tensor)] += 1
    for group in spans.values():
        for (_, end, one), (start, _, other) in _neighbours(group):
            if one is not other and start < end:
                uses[id(one)] += 1
                uses[id(other)] += 1
    return uses


def _has_memory(tensor: Tensor) -> bool:
    return (not isinstance(tensor, UninitializedTensorMixin) and tensor.layout == torch.strided
            and tensor.numel() > 0)


def _extent(tensor: Tensor) -> int:
    """Bytes from a tensor's first element to the end of its last."""
    steps = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    return (steps + 1) * tensor.element_size()


def _overlaps_itself(tensor: Tensor) -> bool:
    return any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride()))


def _neighbours(group: list[Span]) -> Iterator[tuple[Span, Span]]:
    """Pairs of spans in one storage, each with the one before it that reaches farthest."""
    group = sorted(group, key=lambda span: span[:2])
    farthest = group[0]
    for span in group[1:]:
        yield farthest, span
        farthest = max(farthest, span, key=lambda span: span[1])
