"""Checkpoints of TransReID-SSL (Luo et al., arXiv 2111.12084) under FastReID's keys."""
from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.files.reading import misfit

ARCHITECTURES = {  # the published sizes
    'small': {'embed_dim': 384, 'depth': 12, 'num_heads': 6},
    'base': {'embed_dim': 768, 'depth': 12, 'num_heads': 12},
}

# What a self-supervised or fine-tuned model has besides the backbone.
_LEFT = re.compile(r'(head|head_dist|fc|pre_logits|classifier\w*|bottleneck\w*|projector)(\..*)?')


def backbone_state(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """The backbone's tensors of a published file, under the backbone's own names.

    Knows the layouts of pretraining (``teacher`` with ``module.backbone.``), of exported weights
    (``model``, ``state_dict`` or bare) and of fine-tuned re-ID models (``base.``, with BNNeck and
    classifier).

    Returns:
        The tensors, and the names of those that belong to heads.

    Raises:
        ValueError: if there is no such backbone in it.
    """
    for key in ('teacher', 'model', 'state_dict'):
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    state, left = {}, []
    prefixes = {'base.', 'backbone.'}
    tensors = {name.removeprefix('module.'): value for name, value in checkpoint.items()
               if isinstance(value, Tensor)}
    nested = next((p for p in prefixes if any(name.startswith(p) for name in tensors)), '')
    for name, value in tensors.items():
        if name.startswith(nested) and not _LEFT.fullmatch(name.removeprefix(nested)):
            state[name.removeprefix(nested)] = value
        else:
            left.append(name)
    if 'cls_token' not in state or 'pos_embed' not in state:
        raise ValueError(f'There is no TransReID-SSL backbone in it (no cls_token and pos_embed among '
                         f'{", ".join(sorted(map(str, checkpoint))[:5])} ...).')
    return state, left


@dataclass(frozen=True)
class Conversion:
    """What became of a file's tensors; ``str()`` is a sentence on it.

    Attributes:
        state: The backbone's tensors.
        left: Names of those of heads.
        resized: What was done to the position embeddings, ``''`` if nothing.
    """

    state: dict[str, Tensor]
    left: tuple[str, ...]
    resized: str

    def __str__(self) -> str:
        named = f' ({", ".join(self.left[:4])}{" ..." if len(self.left) > 4 else ""})' * bool(self.left)
        return f'{len(self.state)} backbone tensors, {len(self.left)} of heads{named}{self.resized}'


def convert_state(checkpoint: Mapping[str, Any], wanted: Mapping[str, Tensor],
                  grid: tuple[int, int]) -> Conversion:
    """Weights for FastReID's ViT from a published file, every tensor accounted for.

    Args:
        checkpoint: The file's content.
        wanted: State dict of the model that is to take it.
        grid: Rows and columns of that model's patches; position embeddings of another grid are
            resized (bilinear, as TransReID-SSL does).

    Raises:
        ValueError: naming tensors that are missing, left over or of another shape.
    """
    state, left = backbone_state(checkpoint)
    resized = ''
    if state['pos_embed'].shape[1] != 1 + grid[0] * grid[1]:
        before = state['pos_embed'].shape[1] - 1
        state['pos_embed'] = resize_positions(state['pos_embed'], grid)
        resized = f', position embeddings resized from {before} to {grid[0]}x{grid[1]} patches'
    reason = misfit(state, wanted)
    if reason:
        stem = ' The file has a convolutional stem: DEPTH must end in _ics.' if any(
            name.startswith('patch_embed.conv') for name in set(state) - set(wanted)) else ''
        raise ValueError(f'The checkpoint does not fit the model ({reason}).{stem}')
    return Conversion(state, tuple(left), resized)


def convert_neck(checkpoint: Mapping[str, Any], width: int) -> tuple[dict[str, Tensor], list[str]]:
    """BNNeck and classifier of a fine-tuned model, under the keys of FastReID's heads.

    Args:
        checkpoint: The file's content.
        width: Channels of the embedding. A file without a BNNeck gets a fresh one.

    Returns:
        The tensors, and the names of those of heads that FastReID has no place for.
    """
    for key in ('teacher', 'model', 'state_dict'):
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    _, left = backbone_state(checkpoint)
    tensors = {name.removeprefix('module.'): value for name, value in checkpoint.items()}
    neck = nn.BatchNorm2d(width).state_dict()
    found = {'heads.weight': 'classifier.weight', **{f'heads.bottleneck.0.{k}': f'bottleneck.{k}'
                                                     for k in neck}}
    heads = {f'heads.bottleneck.0.{key}': value for key, value in neck.items()}
    heads.update({ours: tensors[theirs] for ours, theirs in found.items() if theirs in tensors})
    return heads, [name for name in left if name not in found.values()]


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings [1, 1 + n, C] for another grid of patches.

    The old grid is square (ImageNet), or twice as high as wide (the 256x128 images of LUPerson).

    Raises:
        ValueError: if n is neither a square nor twice one.
    """
    token, patches = positions[:, :1], positions[:, 1:]
    count = patches.shape[1]
    for ratio in (1, 2):
        columns = math.isqrt(count // ratio)
        if columns * columns * ratio == count:
            break
    else:
        raise ValueError(f'pos_embed has {count} patches, neither a square nor twice one: the grid '
                         f'they stand on is unknown.')
    patches = patches.reshape(1, columns * ratio, columns, -1).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, size=grid, mode='bilinear')
    return torch.cat([token, patches.flatten(2).transpose(1, 2)], dim=1)
