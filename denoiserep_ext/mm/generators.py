"""States of the random generators in checkpoints: a resumed run draws what an uninterrupted one does."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop

from ..core.processes import from_all, process_share, several_processes
from ..core.trees import map_tensors
from ..registry import HOOKS
from .generator_states import restore_, states
from .position import by_epoch
from .saving import may_be_saved
from .worker_generators import Workers

KEY = 'generators'  # in a checkpoint


@HOOKS.register_module()
class Generators(Hook):
    """Notes the generators of Python, NumPy and torch, of every process and of loading processes that
    outlive an epoch, in every checkpoint, and goes on from there on ``--resume``: mmengine itself starts
    them anew, so dropout and random augmentation differ from those of a run that was not interrupted.

    Validation leaves the generators of training alone: a resumed run need not repeat it. DenoiseRepHook
    brings this hook along; any other run can have it in ``custom_hooks``.
    """

    priority = 'LOW'  # before CheckpointHook

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._resumed: list[dict] | None = None  # by rank
        self._noted: list[dict] | None = None
        self._validating = False
        self._workers: Workers | None = None

    def before_run(self, runner) -> None:
        self._forget()

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner._resume:
            # mmengine reads checkpoints onto the GPU that trains; states belong to the CPU.
            self._resumed = map_tensors(lambda state: state.cpu(),
                                        self._fitting(checkpoint.get(KEY)))

    def before_train(self, runner) -> None:
        own = None if self._resumed is None else self._resumed[process_share()[0]]
        if by_epoch(runner):
            loader = runner.train_dataloader
            self._workers = Workers.watch(loader, own and own['workers'])
        elif own is not None:  # the loop loads what has been trained on once more, to pass over it
            loop = runner.train_loop
            passed = 0 if getattr(loop, 'fast_forward_on_resume', False) else runner.iter
            loop.dataloader_iterator = RestoredAfter(loop.dataloader_iterator, passed, own)

    def before_train_epoch(self, runner) -> None:
        if self._resumed is not None and by_epoch(runner):
            restore_(self._resumed[process_share()[0]])
        self._resumed = None

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if several_processes() and may_be_saved(runner, batch_idx):
            self._note()  # one process writes for all

    def before_val(self, runner) -> None:
        if isinstance(runner._train_loop, BaseLoop):
            self._note()
            self._validating = True

    def after_val(self, runner) -> None:
        if self._validating:
            restore_(self._noted[process_share()[0]])
            self._validating = False

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if not self._validating and not several_processes():
            self._note()
        if self._noted is not None:
            checkpoint[KEY] = self._noted

    def _note(self) -> None:
        self._noted = from_all({**states(), 'workers': self._workers and self._workers.states()})

    def _fitting(self, saved: list[dict] | None) -> list[dict] | None:
        _, processes = process_share()
        if saved is not None and len(saved) == processes:
            return saved
        reason = ('holds no states of random generators' if saved is None else
                  f'was written by {len(saved)} processes, and these are {processes}')
        print_log(f'The checkpoint to resume from {reason}: dropout and random augmentation go on with '
                  f'other numbers than without the interruption.', 'current', logging.WARNING)
        return None


class RestoredAfter:
    """Batches of an iteration-based loop; after so many the generators are put back.

    Args:
        batches: The loop's iterator.
        count: Batches that have been trained on and are loaded once more, >= 0.
        saved: States of the generators.
    """

    def __init__(self, batches: Iterator[Any], count: int, saved: dict) -> None:
        self._batches, self._left, self._saved = batches, count, saved

    def __iter__(self) -> RestoredAfter:
        return self

    def __next__(self) -> Any:
        if self._left == 0:
            restore_(self._saved)
        self._left -= 1
        return next(self._batches)

    def skip_iter(self, count: int) -> None:
        """Pass over batches, as the loop of OneDL's mmengine asks for. They are loaded: a sampler that
        skips them leaves generators and loading processes behind."""
        for _ in range(count):
            next(self)
