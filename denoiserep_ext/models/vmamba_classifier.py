"""Official ImageNet checkpoints of VMamba for MMPretrain's ImageClassifier."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .vmamba import VMamba
from .vmamba_checkpoints import arch_of, convert_state, official_names, require_vmamba

_HEAD = {'classifier.head.weight': 'head.fc.weight', 'classifier.head.bias': 'head.fc.bias'}


def convert_classifier(state: Mapping[str, Tensor]) -> tuple[str | dict[str, Any], dict[str, Tensor]]:
    """An official model's tensors under the names of backbone, pooling and LinearClsHead.

    Args:
        state: All of its tensors, in any of the layouts.

    Returns:
        The backbone's ``arch``, and the tensors.

    Raises:
        ValueError: naming what is missing, left over or of another shape.
    """
    state = official_names(state)
    require_vmamba(state)
    arch = arch_of(state)
    backbone = VMamba(arch, out_indices=(-1, ))
    missing = [name for name in (*_HEAD, 'classifier.norm.weight') if name not in state]
    if missing:
        raise ValueError(f'it is no classifier: {", ".join(missing)} missing. Give detectors and '
                         f'segmentors their file as load_from.')
    converted = convert_state(state, backbone.state_dict())
    if set(converted.left) != set(_HEAD):
        raise ValueError(f'left over: {", ".join(sorted(set(converted.left) - set(_HEAD)))}.')
    tensors = {f'backbone.{name}': value for name, value in converted.state.items()}
    return arch, {**tensors, **{ours: state[official] for official, ours in _HEAD.items()}}
