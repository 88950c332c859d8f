"""What leaves the run is plain: fused weights for evaluation and in every checkpoint."""
from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from torch import nn

from ..core.fusion import fused_state_dict, hold_fused_, release_fused_
from ..core.layers import denoise_aliases

KEY = 'denoiserep'


def pack(model: nn.Module, checkpoint: dict) -> dict[str, Any]:
    """Fuse ``checkpoint['state_dict']`` in place of its raw weights.

    Returns:
        The raw tensors of the converted layers, under their keys.
    """
    state = checkpoint['state_dict']
    prefixes = tuple(f'{name}.' for name in _names(model))
    raw = {key: value for key, value in state.items() if key.startswith(prefixes)}
    checkpoint['state_dict'] = fused_state_dict(model, state)
    return raw


def unpack(model: nn.Module, checkpoint: dict) -> None:
    """Put the raw tensors back, as if the checkpoint had never been fused.

    Raises:
        ValueError: if the checkpoint's converted layers are not the model's.
    """
    raw = checkpoint[KEY]['raw']
    saved = {key.rpartition('.denoiser.')[0] for key in raw if '.denoiser.' in key}
    present = _names(model)
    if saved != present:
        odd = sorted(saved ^ present)
        raise ValueError(
            f'The checkpoint was saved with another selection of layers or from another model: '
            f'{len(saved)} converted layers against {len(present)} here ({odd[0]} is only in one '
            f'of them). Resume with the options it was trained with, or use load_from instead.')
    checkpoint['state_dict'].update(raw)


def _names(model: nn.Module) -> set[str]:
    return {alias for aliases in denoise_aliases(model).values() for alias in aliases}


class PlainCheckpoints(Hook):
    """Companion of DenoiseRepHook that runs after every other hook: whatever an EMAHook swaps in is
    what gets fused, for evaluation and on disk.

    Args:
        model: The unwrapped model.
        training_state: Returns what ``--resume`` needs besides the raw weights.
    """

    priority = 'LOWEST'

    def __init__(self, model: nn.Module, training_state) -> None:
        self.model, self.training_state = model, training_state

    def before_val_epoch(self, runner) -> None:
        hold_fused_(self.model)

    def after_val_epoch(self, runner, metrics=None) -> None:
        release_fused_(self.model)

    def before_test_epoch(self, runner) -> None:
        hold_fused_(self.model)

    def after_test_epoch(self, runner, metrics=None) -> None:
        release_fused_(self.model)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        raw = pack(self.model, checkpoint)
        checkpoint[KEY] = {'raw': raw, **self.training_state()}
