"""Reading checkpoints of the hosts safely, and writing plain ones."""
from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .plain import KEY

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


WEIGHTS = ('state_dict', 'model')  # where OpenMMLab and FastReID keep them

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


def plain_meta(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint's ``meta`` tells users of its weights (classes, version, epoch)."""
    return {key: value for key, value in checkpoint.get('meta', {}).items()
            if key in ('epoch', 'iter', 'dataset_meta', 'experiment_name', 'mmengine_version')
            and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))


def export_plain(source: str | Path, target: str | Path, overwrite: bool = False,
                 unsafe: bool = False) -> list[str]:
    """Write the fused weights of a DenoiseRep checkpoint alone: no training state, no optimiser.

    Args:
        source: Checkpoint written by a run with DenoiseRepHook or FastReID's DenoiseRep.
        target: File to write; it appears whole or not at all.
        overwrite: Replace an existing ``target``.
        unsafe: See :func:`read_checkpoint`.

    Returns:
        Names of the layers that had been converted.

    Raises:
        FileExistsError: if ``target`` is there already.
        ValueError: if ``source`` is no such checkpoint.
    """
    source, target = Path(source), Path(target)
    if target.exists() and not overwrite:
        raise FileExistsError(f'{target} exists: remove it or choose another name.')
    checkpoint = read_checkpoint(source, unsafe)
    weights = next((key for key in WEIGHTS if key in checkpoint), None)
    if KEY not in checkpoint or weights is None:
        raise ValueError(f'{source} was not written by a DenoiseRep training: there is nothing fused '
                         f'in it (keys: {", ".join(sorted(map(str, checkpoint)))}).')
    plain = {weights: checkpoint[weights]}
    if 'meta' in checkpoint:
        plain['meta'] = plain_meta(checkpoint)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(plain, target)
    raw = checkpoint[KEY]['raw']
    return sorted({key.rpartition('.denoiser.')[0] for key in raw if '.denoiser.' in key})


@contextmanager
def parked(path: str | Path) -> Iterator[Path]:
    """A temporary name to write to, which becomes ``path`` at the end, or vanishes if anything goes
    wrong."""
    partial = Path(f'{path}.partial')
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(data: Any, path: str | Path) -> None:
    """``torch.save`` under a temporary name, renamed once it is there as a whole."""
    with parked(path) as partial:
        torch.save(data, partial)


def write_json(data: Any, path: str | Path) -> None:
    """Plain data as JSON, whole or not at all."""
    with parked(path) as partial:
        partial.write_text(json.dumps(data, indent=2))
