"""Where a training run stands, counted in what its train loop counts."""
from __future__ import annotations

from mmengine.runner import EpochBasedTrainLoop

from ..core.fit.recipes import Recipe


def by_epoch(runner) -> bool:
    """Whether the train loop counts epochs rather than iterations."""
    return isinstance(runner._train_loop, EpochBasedTrainLoop)


def position(runner) -> int:
    """The current epoch or iteration, counted from 0."""
    return runner.epoch if by_epoch(runner) else runner.iter


def block_ends(runner, batch_idx: int, recipe: Recipe) -> bool:
    """Whether a block of the recipe, or the run, ends with this iteration.

    Args:
        runner: In ``after_train_iter``.
        batch_idx: The iteration's place in its epoch.
        recipe: Whose blocks are counted.
    """
    if runner.iter + 1 >= runner.max_iters:
        return True
    if by_epoch(runner) and batch_idx + 1 < len(runner.train_dataloader):
        return False
    return recipe.ends(position(runner))
