"""Places in MMPretrain's classifiers for a map of their embeddings."""
from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..core.fit.embedding import Affine
from ..core.layer.layer_types import LINEAR, layer_type_of


def fold_before_classifier_(model: nn.Module, affine: Affine) -> str:
    """Fold a map of the embedding into the classifier's last layer, in place.

    Returns:
        The layer's name within the head.

    Raises:
        ValueError: if the head has no single linear layer with a bias that takes embeddings.
    """
    length = affine.weight.shape[0]
    linears = [(name, layer) for name, layer in model.head.named_modules()
               if layer_type_of(type(layer)) is LINEAR and layer.in_features == length
               and 'pre_logits' not in name]
    if len(linears) != 1 or linears[0][1].bias is None:
        raise ValueError(f'{type(model.head).__name__} has {len(linears)} linear layers that take '
                         f'embeddings of length {length} (with a bias there must be one), so no map can '
                         f'be folded into it. Take place features, not centred.')
    name, layer = linears[0]
    weight, bias = affine.before_linear(layer.weight.detach(), layer.bias.detach())
    layer.weight.data.copy_(weight)
    layer.bias.data.copy_(bias)
    return name


def fold_into_neck_(model: nn.Module, affine: Affine,
                    config: dict[str, Any] | None) -> tuple[dict[str, Any] | None, str]:
    """Fold a map into what ``extract_feat`` returns, in place where there is a linear neck; the
    classifier gets back what the map leaves out.

    Args:
        model: A classifier.
        affine: The map.
        config: Its neck's node of the config, or None.

    Returns:
        The node of the neck that has to take the present one's place, None if there is none, and what
        it costs, in words.

    Raises:
        ValueError: if the neck has no place for it.
    """
    length, neck = affine.weight.shape[0], model.neck if model.with_neck else None
    kind = type(neck).__name__
    if affine.left_out is not None and model.with_head:
        identity = torch.eye(length, dtype=torch.float64, device=affine.weight.device)
        fold_before_classifier_(model, Affine(identity, affine.left_out))
    if kind == 'LinearNeck' and isinstance(neck.norm, nn.Identity) and isinstance(
            neck.act, nn.Identity):
        weight, bias = affine.after_linear(neck.fc.weight.detach(), neck.fc.bias.detach())
        neck.fc.weight.data.copy_(weight)
        neck.fc.bias.data.copy_(bias)
        return None, 'folded into neck.fc: no cost'
    if neck is not None and kind != 'GlobalAveragePooling':
        raise ValueError(f'The neck {kind} has no place for a map of its output. Take place classifier, '
                         f'or a GlobalAveragePooling or LinearNeck.')
    dim = 0 if neck is None else config.get('dim', 2)
    node = dict(type='LinearNeck', in_channels=length, out_channels=length, gap_dim=dim, norm_cfg=None,
                act_cfg=None)
    return node, (f'a LinearNeck of {length} x {length} instead of {"none" if neck is None else kind}: '
                  f'{length**2 / 1e6:.2f} M more multiplications per image')


def build_neck(node: dict[str, Any], affine: Affine) -> nn.Module:
    """The LinearNeck of a node that computes a map."""
    from mmpretrain.models.necks import LinearNeck
    neck = LinearNeck(**{key: value for key, value in node.items() if key != 'type'})
    neck.fc.weight.data.copy_(affine.weight)
    neck.fc.bias.data.copy_(affine.offset)
    return neck
