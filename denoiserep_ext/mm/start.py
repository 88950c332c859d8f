"""What a training run starts from."""
from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import print_log

_TRAINED = ('Pretrained', 'PretrainedInit')  # mmengine's initialiser, by either of its names
_FLAGS = ('pretrained', 'checkpoint_path')  # older configs; wrappers of other libraries' models


def warn_of_random_weights(runner) -> None:
    """Say so where nothing in the config gives the model trained weights. A model that was built
    outside the config may have some: nothing is said."""
    model = runner.cfg.get('model')
    if runner._has_loaded or not isinstance(model, dict) or _names_trained_weights(model):
        return
    print_log('Training starts from random weights: the config has no load_from, and its model no '
              'Pretrained init_cfg. DenoiseRep is meant to start from a trained model: set load_from to '
              'its checkpoint.', 'current', logging.WARNING)


def _names_trained_weights(node: Any) -> bool:
    if isinstance(node, (list, tuple)):
        return any(map(_names_trained_weights, node))
    if not isinstance(node, dict):
        return False
    kind = node.get('type')
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return (name.rpartition('.')[2] in _TRAINED or any(node.get(flag) for flag in _FLAGS)
            or any(map(_names_trained_weights, node.values())))
