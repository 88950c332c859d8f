"""Reading checkpoints of the hosts safely."""
from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# What mmengine's message hub leaves in a checkpoint besides tensors and plain data. None of it is
# needed here, so stand-ins that do nothing take its place and nothing of the file is ever called.
_LEFT_BY_HOST = (
    ('builtins', 'getattr'), ('mmengine.logging.history_buffer', 'HistoryBuffer'),
    ('numpy', 'ndarray'), ('numpy', 'dtype'),
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


_STAND_INS = [type(name, (_Inert, ), {'__module__': module}) for module, name in _LEFT_BY_HOST]


def read_checkpoint(path: str | Path, unsafe: bool = False) -> dict[str, Any]:
    """Load a checkpoint onto the CPU, tensors and plain data only (the host's log history is left
    out).

    Args:
        path: Checkpoint file.
        unsafe: Allow arbitrary pickles, which can run code: only for files you trust.

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
            with torch.serialization.safe_globals(_STAND_INS):
                checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        lines = str(error).splitlines()
        if unsafe or not isinstance(error, pickle.UnpicklingError):
            reason = ' '.join([type(error).__name__, *lines[:1]])
            raise ValueError(f'{path} is damaged or no checkpoint ({reason}).') from error
        reason = next((line.strip() for line in lines if 'Unsupported' in line), lines[0])
        raise ValueError(f'{path} cannot be read safely: {reason} If it is a checkpoint you trust, '
                         f'allow unsafe loading.') from error
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
