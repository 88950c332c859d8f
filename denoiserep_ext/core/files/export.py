"""The plain checkpoint inside one that can be resumed."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from .plain import KEY, converted_names
from .reading import read_checkpoint
from .writing import write_whole

WEIGHTS = ('state_dict', 'model')  # where OpenMMLab and FastReID keep them


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
    return sorted(converted_names(checkpoint[KEY]['raw']))
