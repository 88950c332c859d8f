"""Features of finished parts of a model, kept within a memory budget."""
from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..memory import room_on_gpu


class _Like(NamedTuple):
    """Shape, type and place of a tensor."""

    meta: Tensor
    device: torch.device


class Store:
    """Nested tensors by key. Those on a GPU stay there while there is room; then the memory of the CPU
    takes them, and a temporary folder what does not fit in either.

    Args:
        budget: Bytes to keep in the memory of the CPU.
        gpu_budget: Bytes to keep on GPUs, all together; None: as long as half of a GPU's memory stays
            free, whoever else uses it.
    """

    def __init__(self, budget: int, gpu_budget: int | None = None) -> None:
        self._left = {'cpu': budget, 'cuda': gpu_budget}  # bytes, by type of device
        self._files = 0
        self._kept: dict[Hashable, tuple[list[Tensor | Path | None], list[Any], Any]] = {}
        self._folder: tempfile.TemporaryDirectory | None = None
        self._scratch: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def put(self, key: Hashable, tree: Any, values: bool = True) -> None:
        """Keep a copy of a nested structure's tensors; without their values, as after
        :meth:`forget`, if nobody will read them."""
        leaves, spec = pytree.tree_flatten(tree)
        self.drop(key)
        kept, likes = [], []
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                kept.append(None)
                likes.append(leaf)
                continue
            kept.append(self._keep(leaf) if values else None)
            likes.append(_Like(torch.empty_like(leaf, device='meta'), leaf.device))
        self._kept[key] = kept, likes, spec

    def _keep(self, tensor: Tensor) -> Tensor | Path:
        size = _bytes(tensor)
        for place in dict.fromkeys((tensor.device, torch.device('cpu'))):
            if size <= self._room(place):
                with contextlib.suppress(torch.cuda.OutOfMemoryError):  # one size down, then
                    kept = tensor.detach().to(place, copy=True)  # a view is copied whole
                    self._count(kept, -1)
                    return kept
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix='denoiserep-')
        self._files += 1
        path = Path(self._folder.name) / f'{self._files}.pt'
        torch.save(tensor.detach().cpu().clone(), path)
        return path

    def _room(self, place: torch.device) -> int:
        if place.type == 'cuda' and self._left['cuda'] is None:
            return room_on_gpu(place)
        return self._left.get(place.type, -1)

    def _count(self, kept: Tensor, sign: int) -> None:
        if self._left[kept.device.type] is not None:
            self._left[kept.device.type] += sign * _bytes(kept)

    def get(self, key: Hashable) -> Any:
        """The structure with fresh copies of its tensors, where they were."""
        kept, likes, spec = self._kept[key]
        leaves = []
        for value, like in zip(kept, likes):
            if isinstance(value, Path):
                leaves.append(torch.load(value, weights_only=True).to(like.device))
            elif isinstance(value, Tensor):
                leaves.append(value.to(like.device, copy=True))
            else:
                leaves.append(self._blank(like) if isinstance(like, _Like) else like)
        return pytree.tree_unflatten(leaves, spec)

    def blank(self, key: Hashable) -> Any:
        """The structure filled with NaN: for code that runs, but whose results nobody reads. All
        blanks share their memory."""
        _, likes, spec = self._kept[key]
        return pytree.tree_unflatten([self._blank(like) if isinstance(like, _Like) else like
                                      for like in likes], spec)

    def _blank(self, like: _Like) -> Tensor:
        place, size = (like.meta.dtype, like.device), like.meta.numel()
        if place not in self._scratch or self._scratch[place].numel() < size:
            fill = float('nan') if like.meta.is_floating_point() else 0
            # Forwards that start on the CPU copy blanks to the GPU again and again.
            pinned = like.device.type == 'cpu' and torch.cuda.is_initialized()
            self._scratch[place] = torch.full((size, ), fill, dtype=like.meta.dtype,
                                              device=like.device, pin_memory=pinned)
        return self._scratch[place][:size].view(like.meta.shape)

    def forget(self, key: Hashable) -> None:
        """Free the memory of a structure whose tensors are not read any more; blanks remain."""
        kept, likes, spec = self._kept[key]
        for value in kept:
            self._free(value)
        self._kept[key] = [None] * len(kept), likes, spec

    def drop(self, key: Hashable) -> None:
        """Free and forget a structure, if it is there."""
        if key in self._kept:
            for value in self._kept.pop(key)[0]:
                self._free(value)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def _free(self, value: Tensor | Path | None) -> None:
        if isinstance(value, Path):
            value.unlink(missing_ok=True)
        elif value is not None:
            self._count(value, 1)

    def close(self) -> None:
        """Remove the temporary folder."""
        self._kept.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
