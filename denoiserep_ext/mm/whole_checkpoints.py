"""Checkpoints that survive being killed, whatever they are being written over."""
from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop

from ..core.files.whole import whole_or_before
from ..core.files.writing import clear_partial, parked, write_text
from ..registry import HOOKS


@HOOKS.register_module()
class WholeCheckpoints(Hook):
    """Has checkpoints appear whole or not at all, has CheckpointHook remove old ones when the new one is
    there (mmengine removes them first, and ``max_keep_ckpts=1`` would lose both to a kill), and on
    ``--resume`` takes the last whole one where the newest is damaged.

    A kill can leave one checkpoint more than was asked for. DenoiseRepHook brings this hook along; any
    other run can have it in ``custom_hooks``.

    Raises:
        ValueError: before anything is loaded, if the checkpoint to resume from is damaged and was named
            by hand, or there is none before it.
    """

    priority = 'LOWEST'  # what CheckpointHook no longer needs goes after all it does

    def before_run(self, runner) -> None:
        if not isinstance(runner._train_loop, BaseLoop):
            return
        if not isinstance(runner.save_checkpoint, _Whole):
            runner.save_checkpoint = _Whole(runner.save_checkpoint)
        if runner._resume:
            self._choose(runner)

    def before_train(self, runner) -> None:
        if is_main_process():
            for folder in {str(runner.work_dir), *(hook.out_dir for hook in _savers(runner))}:
                clear_partial(Path(folder))
        for hook in _savers(runner):
            if not isinstance(hook.file_backend, _Patient):
                hook.file_backend = _Patient(hook.file_backend)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        _remove_old(runner)

    def after_train_epoch(self, runner) -> None:
        _remove_old(runner)

    def after_val_epoch(self, runner, metrics=None) -> None:
        _remove_old(runner)

    def _choose(self, runner) -> None:
        """Resume from what is whole."""
        given, latest = runner._load_from, Path(runner.work_dir) / 'last_checkpoint'
        if given is None and not latest.is_file() or '://' in str(given):
            return
        # A kill can leave the note of the newest one empty.
        named = Path(given or latest.read_text().strip() or _folder(runner))
        templates = [hook.filename_tmpl for hook in _savers(runner)] or ['epoch_{}.pth', 'iter_{}.pth']
        pattern = '|'.join(re.escape(template) for template in templates).replace(r'\{\}', r'(\d+)')
        chosen = whole_or_before(named, pattern)
        if chosen == named:
            return
        odd = f'{named} is damaged' if named.is_file() else f'{latest} names no checkpoint that is there'
        if given is not None:
            raise ValueError(f'{odd}: resume from {chosen}, the last whole one before it.')
        print_log(f'{odd}: resuming from {chosen}, the last whole one before it.', 'current',
                  logging.WARNING)
        runner._load_from = str(chosen)
        if is_main_process():  # nothing more may be saved, where the run was at its end
            write_text(str(chosen), latest)


class _Whole:
    """A runner's ``save_checkpoint`` that writes whole files."""

    def __init__(self, save) -> None:
        self.save = save

    def __call__(self, out_dir: str, filename: str, *args: Any, **options: Any) -> None:
        if not is_main_process():
            return
        if '://' in str(out_dir):  # object stores take whole files or none
            self.save(out_dir, filename, *args, **options)
            return
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        with parked(Path(out_dir) / filename) as partial:
            self.save(out_dir, partial.name, *args, **options)


class _Patient:
    """A file backend that removes nothing before it is told to."""

    def __init__(self, backend: Any) -> None:
        self._backend, self._old = backend, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._old.append(path)

    def remove_old(self, kept: set[str]) -> None:
        while self._old:
            path = self._old.pop()
            if path not in kept and self._backend.isfile(path):
                self._backend.remove(path)


def _savers(runner) -> list[CheckpointHook]:
    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]


def _folder(runner) -> str:
    """Where CheckpointHook is going to save, which it works out only later."""
    work_dir = str(runner.work_dir)
    elsewhere = next((hook.out_dir for hook in _savers(runner) if hook.out_dir), None)
    return f'{elsewhere}/{Path(work_dir).name}' if elsewhere not in (None, work_dir) else work_dir


def _remove_old(runner) -> None:
    for hook in _savers(runner):
        if isinstance(hook.file_backend, _Patient):
            best = getattr(hook, 'best_ckpt_path_dict', None) or {}
            kept = {hook.last_ckpt, getattr(hook, 'best_ckpt_path', None), *best.values()}
            hook.file_backend.remove_old(kept)


def bring_along_(runner, *kinds: type[Hook]) -> None:
    """Register hooks where the runner has none of their kind."""
    for kind in kinds:
        if not any(isinstance(hook, kind) for hook in runner.hooks):
            runner.register_hook(kind())
