"""Checkpoints that stock FastReID runs, and under a key of its own what resuming needs."""
from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from fastreid.utils.checkpoint import Checkpointer
from torch import nn

from ..core.files.plain import KEY, pack, unpack
from ..core.files.reading import misfit, read_checkpoint
from ..core.files.whole import whole_or_before
from ..core.files.writing import write_text, write_whole
from ..core.layer.layers import denoise_layers
from .divergence import divergence_named, not_finite

logger = logging.getLogger('fastreid.denoiserep')

# The classifier belongs to the training identities: another data set has another one.
_CLASSIFIER = re.compile(r'(.*\.)?(heads|\w+_head)\.weight')


class PlainCheckpointer(Checkpointer):
    """FastReID's Checkpointer whose files hold fused weights under the stock keys.

    They are read as tensors and plain data only, a checkpoint of another model or with NaN is refused
    (FastReID would start from fresh weights with a line in its log), and a file appears whole or not
    at all.

    Args: see :class:`fastreid.utils.checkpoint.Checkpointer`. ``learner`` returns the state that
    resuming needs besides raw weights, set by whoever trains predictors.
    """

    learner: Callable[[], dict[str, Any]] | None = None

    @classmethod
    def of(cls, checkpointer: Checkpointer) -> PlainCheckpointer:
        """The same checkpointer in this form."""
        return cls(checkpointer.model, checkpointer.save_dir, save_to_disk=checkpointer.save_to_disk,
                   **checkpointer.checkpointables)

    def save(self, name: str, **kwargs: Any) -> None:
        if not self.save_dir or not self.save_to_disk:
            return
        data = {'model': self.model.state_dict()}
        if self._converted():
            with divergence_named(self.model):
                data['model'], raw = pack(self.model, data['model'])
            if self.learner is not None:
                data[KEY] = {'raw': raw, **self.learner()}
        data.update({key: obj.state_dict() for key, obj in self.checkpointables.items()})
        data.update({key: _plain(value) for key, value in kwargs.items()})
        file = f'{name}.pth'
        write_whole(data, os.path.join(self.save_dir, file))
        self.logger.info(f'Saved plain checkpoint {os.path.join(self.save_dir, file)}')
        self.tag_last_checkpoint(file)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        write_text(last_filename_basename, Path(self.save_dir) / 'last_checkpoint')

    def get_checkpoint_file(self) -> str:
        """See :func:`last_checkpoint`."""
        return str(last_checkpoint(self.save_dir))

    def resume(self) -> dict[str, Any]:
        """Load the latest checkpoint, raw weights and all.

        Returns:
            What is left of it, its training state under ``denoiserep``.

        Raises:
            FileNotFoundError: if ``last_checkpoint`` names none.
            ValueError: if it is damaged and none before it is whole, of another model or not finite.
        """
        self._raw = True
        try:
            return self.load(self.get_checkpoint_file())
        finally:
            self._raw = False

    _raw = False

    def _load_file(self, f: str) -> dict[str, Any]:
        return read_reid_checkpoint(f)

    def _load_model(self, checkpoint: dict[str, Any]):
        state = {key.removeprefix('module.'): value for key, value in checkpoint['model'].items()}
        if self._raw and KEY in checkpoint and self._converted():
            state = unpack(self.model, state, checkpoint[KEY]['raw'])
        require_same_model(self.model, state)
        require_finite(state)
        return super()._load_model({**checkpoint, 'model': state})

    def _converted(self) -> bool:
        return any(True for _ in denoise_layers(self.model))


def _plain(value: Any) -> Any:
    """NumPy scalars (FastReID's metrics) as Python's own, which safe reading takes."""
    return value.item() if hasattr(value, 'item') and not isinstance(value, torch.Tensor) else value


def read_reid_checkpoint(path: str) -> dict[str, Any]:
    """Read a FastReID checkpoint onto the CPU, tensors and plain data only.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is no FastReID checkpoint, or holds code.
    """
    checkpoint = read_checkpoint(path, remedy='save its tensors alone, as torch.save(dict(model=...), '
                                              'FILE), and take that')
    if not isinstance(checkpoint.get('model'), dict):
        raise ValueError(f'{path} is no FastReID checkpoint: it has no weights under "model" '
                         f'(found: {", ".join(sorted(map(str, checkpoint))[:5])}). TransReID-SSL '
                         f'files are converted by tools/convert_transreid.py.')
    return checkpoint


def last_checkpoint(folder: str | Path) -> Path:
    """The checkpoint that a folder's ``last_checkpoint`` names; where it is damaged, the last whole one
    before it, with a warning.

    Raises:
        FileNotFoundError: if it names none, with those that are there.
        ValueError: if it is damaged and there is none before it.
    """
    tag = Path(folder) / 'last_checkpoint'
    name = tag.read_text().strip() if tag.is_file() else ''
    if name and (path := tag.parent / name).is_file():
        chosen = whole_or_before(path, r'model_(\d+)\.pth')
        if chosen != path:
            logger.warning('%s is damaged: resuming from %s, the last whole one before it.', path,
                           chosen)
        return chosen
    found = ', '.join(sorted(path.name for path in tag.parent.glob('*.pth'))) or 'none'
    reason = f'names {name}, which is not there' if name else 'names no checkpoint'
    raise FileNotFoundError(f'{tag} {reason}. Write the name of one into it (there are: {found}), or '
                            f'remove it and start from scratch.')


def best_metric(folder: str | Path) -> float | None:
    """How good a folder's ``model_best.pth`` is, None without one. One that cannot be read is announced
    and counts as none: the next best checkpoint takes its place."""
    path = Path(folder) / 'model_best.pth'
    if not path.is_file():
        return None
    try:
        return float(read_reid_checkpoint(str(path))['metric'])
    except (KeyError, TypeError, ValueError) as error:
        reason = 'it holds no metric' if isinstance(error, KeyError) else error
        logger.warning('%s is ignored (%s): the best checkpoint from now on replaces it.',
                       path, reason)
        return None


def num_classes(state: dict[str, torch.Tensor]) -> int:
    """Training identities that a model's classifier tells apart, 0 if there is no classifier."""
    return next((len(value) for key, value in state.items() if _CLASSIFIER.fullmatch(key)), 0)


def require_same_model(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Refuse weights of another model. The classifier may differ, and may be missing.

    Raises:
        ValueError: naming the first tensors that are missing, left over or of another shape.
    """
    def aside(key: str) -> bool:
        return ('.denoiser.' in key or key.startswith('pixel_') or key.endswith('num_batches_tracked')
                or bool(_CLASSIFIER.fullmatch(key)))

    saved = {key: value for key, value in state.items() if not _CLASSIFIER.fullmatch(key)}
    reason = misfit(saved, model.state_dict(), aside)
    if reason:
        raise ValueError(
            f'The checkpoint is of another model ({reason}): give the config of the model '
            f'that it was trained with (MODEL.BACKBONE, MODEL.HEADS, INPUT.SIZE_TRAIN).')


def require_finite(state: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights with NaN or infinity.

    Raises:
        ValueError: naming the first tensors by their full names.
    """
    odd = not_finite(state)
    if odd:
        named = f'{", ".join(odd[:3])}{" ..." if len(odd) > 3 else ""}'
        raise ValueError(f'The checkpoint holds NaN or infinity, in {len(odd)} tensors: {named}. Start '
                         f'from a sound one.')
