"""What leaves the run is plain: fused weights for evaluation and in every checkpoint."""
from __future__ import annotations

from mmengine.hooks import Hook
from torch import nn

from ..core.files.plain import KEY, pack
from ..core.layer.fusion import hold_fused_, release_fused_


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
        checkpoint['state_dict'], raw = pack(self.model, checkpoint['state_dict'])
        checkpoint[KEY] = {'raw': raw, **self.training_state()}
