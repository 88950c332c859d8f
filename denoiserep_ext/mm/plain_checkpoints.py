"""What leaves the run is plain: fused weights for evaluation and in every checkpoint."""
from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.utils import apply_to
from torch import Tensor, nn

from ..core.files.plain import KEY, pack
from ..core.fit.learning import Learner
from ..core.layer.fusion import hold_fused_, release_fused_


class PlainCheckpoints(Hook):
    """Companion of DenoiseRepHook that runs after every other hook: whatever an EMAHook swaps in is
    what gets fused, for evaluation and on disk.

    Args:
        model: The unwrapped model.

    Attributes:
        learner: Holds what ``--resume`` needs besides the raw weights; set where training starts.
    """

    priority = 'LOWEST'

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.learner: Learner | None = None

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
        if self.learner is not None:
            # On the CPU, as everything that the Runner saves.
            checkpoint[KEY] = apply_to({'raw': raw, **self.learner.state_dict()},
                                       lambda value: isinstance(value, Tensor), Tensor.cpu)


def companion_of(runner, model: nn.Module) -> PlainCheckpoints:
    """The runner's one companion, registered where it has none: a hook may come back to a runner
    after it has served another.

    Args:
        model: The runner's, unwrapped.
    """
    for hook in runner.hooks:
        if isinstance(hook, PlainCheckpoints):
            return hook
    companion = PlainCheckpoints(model)
    runner.register_hook(companion)
    return companion
