"""Reading checkpoints of the hosts safely."""
from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# What mmengine's message hub and scripts that save their options (VMamba's) leave in a checkpoint
# besides tensors and plain data. None of it is needed here, so stand-ins that do nothing take its place
# and nothing of the file is ever called.
_LEFT_BY_HOST = (
    ('builtins', 'getattr'), ('mmengine.logging.history_buffer', 'HistoryBuffer'),
    ('argparse', 'Namespace'), ('numpy', 'ndarray'), ('numpy', 'dtype'),
    *((f'numpy.{core}.multiarray', name) for core in ('core', '_core')
      for name in ('_reconstruct', 'scalar')),
)


class _Inert:
    """Takes any arguments and state and keeps nothing."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs) -> None:
        pass

    def __setstate__(self, state) -> None:
        pass


class _InertNode(OrderedDict):
    """For a dict of its own class: newer torch puts items into dicts of its list alone."""

    def __new__(cls, *args, **kwargs):
        return OrderedDict()


_STAND_INS = [type(name, (base, ), {'__module__': module}) for base, module, name in (
    *((_Inert, *left) for left in _LEFT_BY_HOST), (_InertNode, 'yacs.config', 'CfgNode'))]
# Plain data that torch 2.5 does not take yet; a CfgNode has one.
_SAFE = [*_STAND_INS, set]
# What torch allows is one list for all threads, put back by the first that is done.
_ALONE = threading.Lock()

_ALLOWING = ('allow unsafe loading: unsafe=True (in Python and init_cfg), --unsafe (of the tools), '
             'MODEL.BACKBONE.PRETRAIN_UNSAFE True (for FastReID\'s PRETRAIN_PATH)')


def read_checkpoint(path: str | Path, unsafe: bool = False,
                    remedy: str = _ALLOWING) -> dict[str, Any]:
    """Load a checkpoint onto the CPU, tensors and plain data only (the host's log history and saved
    options are left out).

    Args:
        path: Checkpoint file.
        unsafe: Allow arbitrary pickles, which can run code: only for files you trust.
        remedy: What to do with a trusted file that needs ``unsafe``, for the message.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is no checkpoint, or would need ``unsafe``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such checkpoint.')
    try:
        if unsafe:
            checkpoint = torch.load(path, map_location='cpu', weights_only=False)
        else:
            with _ALONE, torch.serialization.safe_globals(_SAFE):
                checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        lines = str(error).splitlines()
        if unsafe or not isinstance(error, pickle.UnpicklingError):
            reason = ' '.join([type(error).__name__, *lines[:1]])
            raise ValueError(f'{path} is damaged or not a checkpoint ({reason}).') from error
        reason = str(error).rpartition('WeightsUnpickler error:')[2].strip().splitlines()[0]
        raise ValueError(f'{path} cannot be read safely: {reason} If it is a checkpoint you trust, '
                         f'{remedy}.') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{path} holds a {type(checkpoint).__name__}, not a checkpoint.')
    return checkpoint


def misfit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor],
           optional: Callable[[str], object] = lambda name: False) -> str:
    """What keeps weights from fitting a model, ``''`` if nothing does.

    Args:
        state: The weights by name.
        wanted: The model's own.
        optional: Says of a name whether it may be missing or left over.
    """
    missing = [name for name in wanted if name not in state and not optional(name)]
    left = [name for name in state if name not in wanted and not optional(name)]
    shapes = [f'{name} is {list(state[name].shape)} there and {list(wanted[name].shape)} here'
              for name in wanted if name in state and state[name].shape != wanted[name].shape]
    groups = ('missing', missing), ('left over', left), ('of another shape', shapes)
    return '; '.join(f'{len(group)} {what}: {", ".join(group[:3])}{" ..." if len(group) > 3 else ""}'
                     for what, group in groups if group)
