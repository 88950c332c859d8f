"""When a training run may write a checkpoint."""
from mmengine.hooks import CheckpointHook

from .position import by_epoch


def may_be_saved(runner, batch_idx: int) -> bool:
    """Whether a checkpoint may be written before the next iteration, evaluation apart. Only one
    process writes it, so what it writes must be the same on all.

    Args:
        runner: In ``after_train_iter``.
        batch_idx: The iteration's place in its epoch.
    """
    if by_epoch(runner) and batch_idx + 1 == len(runner.train_dataloader):
        return True
    if runner.iter + 1 >= runner.max_iters:
        return True
    return any(isinstance(hook, CheckpointHook) and not hook.by_epoch
               and hook.every_n_train_iters(runner, hook.interval) for hook in runner.hooks)
