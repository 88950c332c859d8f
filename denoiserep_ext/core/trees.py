"""Batches and outputs of any nesting: tuples, lists and dicts with tensors in them."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


def tensors_in(tree: Any) -> list[Tensor]:
    """All tensors of a nested structure, in order."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """The same structure with every tensor replaced."""
    return pytree.tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, tree)


def count_images(batch: Any) -> int:
    """Length of the first tensor in a batch.

    Raises:
        ValueError: if there is none, or it holds no image.
    """
    found = tensors_in(batch)
    if not found or not found[0].dim() or not len(found[0]):
        raise ValueError('A batch holds no image: give batches of tensors [images, ...].')
    return len(found[0])


def take(batch: Any, images: Sequence[int]) -> Any:
    """Some images of a batch: of every tensor and every list as long as the batch."""
    total = count_images(batch)
    index = torch.as_tensor(images)

    def walk(node: Any) -> Any:
        if isinstance(node, Tensor):
            return node[index.to(node.device)] if node.dim() and len(node) == total else node
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            if len(node) == total and not any(isinstance(each, Tensor) and each.dim() and len(each)
                                              == total for each in node):
                return type(node)(node[i] for i in images)
            return type(node)(walk(each) for each in node)
        return node

    return walk(batch)
