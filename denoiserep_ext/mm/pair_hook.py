"""Noise that is shown, taken out in any mmengine Runner by one line of config."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop

from ..core.layer.layers import denoise_layers
from ..core.layer.selection import by_part, select
from ..pairs.loading import PairLoader
from ..pairs.options import NOISE, shown_noise
from ..pairs.reporting import described, save_report
from ..pairs.walking import walk_
from .host import DenoisingHook, bare_model, check_ends_early, check_runner
from .options import selection_of
from .pairs import TrainImages, judge_of, outputs_through
from .start import warn_of_random_weights
from .whole_checkpoints import WholeCheckpoints, bring_along_

DONE = 'denoiserep_pairs'  # in the message hub, which checkpoints carry


class PairHook(DenoisingHook):
    """Denoises the weights that a config loads by train images and worse versions of them, once and
    without labels, instead of training: what ``DenoiseRepHook(noise='corruption', ...)`` is.

        custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='frozen', noise='corruption',
                             corruptions=['gaussian_noise@3', 'jpeg_compression@3'])]

    Images are of the train set, read by the test pipeline, and made worse right behind loading. Then
    the checkpoint is written under the name of epoch or iteration 0, the model is validated once and
    the run ends: not an iteration is trained. The report goes to the log and, with a picture, to the
    work directory. Where the judge finds no gain the weights stay as they were loaded. In testing
    the hook does nothing: the checkpoint is plain.

    Args:
        recipe: ``'frozen'``: nothing is trained.
        noise: ``'corruption'``.
        target: Dotted name of the part of the model to denoise, ``''`` for all of it, or a list of
            such names. By default the backbone, or all of it where ``layers`` is a mapping.
        **options: ``corruptions``, names with or without ``@SEVERITY``, or groups of them;
            ``severity`` of names without one, 1 to 5 (default 3); ``images``, how many are drawn
            (default 1024, None for all); settings of :class:`~denoiserep_ext.PairConfig`
            except ``judge``, which is the task's.

    Raises:
        ValueError: for an unknown option or choice, or one of another kind of noise.
    """

    priority = 'LOWEST'  # CheckpointHook and EMAHook have been set up by then

    def __init__(self, recipe: str = 'joint', *, noise: str = NOISE,
                 target: str | Sequence[str] | None = None, **options: Any) -> None:
        if recipe != 'frozen':
            raise ValueError(f"noise='{NOISE}' is fitted once, without labels, and nothing is trained: "
                             f"set recipe='frozen', not {recipe!r}.")
        self.shown = shown_noise(options, also=('noise', 'recipe', 'target'))
        self.target, layers = selection_of({'target': target, **options, 'noise': noise})
        self.selected = by_part(self.target, layers)
        self._resumed = False

    def before_run(self, runner) -> None:
        """See that everything is in place, unless the runner only evaluates."""
        if not isinstance(runner._train_loop, BaseLoop):
            return
        check_runner(runner)
        check_ends_early(runner)
        model = bare_model(runner)
        if any(True for _ in denoise_layers(model)):
            raise ValueError(f"noise='{NOISE}' rewrites plain layers, and some are converted already "
                             f'(by DenoiseRepBackbone?): configure the plain backbone.')
        select(model, self.selected)
        seed = self.shown.config.seed
        images = TrainImages(runner.cfg, model, self.shown.images, seed)
        self._loader = PairLoader(images, self.shown.corruptions, seed)
        self._loader.check(self.shown.config.held_out)
        self._resumed = False
        bring_along_(runner, WholeCheckpoints)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note whether a run is resumed."""
        self._resumed = bool(runner._resume)

    def before_train(self, runner) -> None:
        """Denoise, write, validate, and leave nothing for the train loop to do."""
        runner._train_loop.stop_training = True
        if self._resumed:
            if not runner.message_hub.runtime_info.get(DONE):
                raise ValueError(
                    f"The checkpoint to resume from was not written with noise='{NOISE}', which is "
                    f'fitted once to a trained model: give it as load_from, without resume.')
            print_log('DenoiseRep: this run is complete, there is nothing to resume.', 'current')
            return
        warn_of_random_weights(runner)
        self._denoise_(runner)
        runner.message_hub.update_info(DONE, True)
        self._save(runner)
        if runner.val_loop is not None:
            runner.val_loop.run()

    def _denoise_(self, runner) -> None:
        model = bare_model(runner)
        config = replace(self.shown.config, layers=self.selected, judge=judge_of(model))
        report = walk_(model, self._loader, config, outputs_through(self.selected))
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):  # its copy is what gets validated and written
                hook.ema_model.module.load_state_dict(model.state_dict())
        print_log(f'DenoiseRep, noise shown by {", ".join(self.shown.worse)}:\n'
                  f'{described(report, self.shown.worse)}', 'current')
        if not report.accepted:
            print_log('DenoiseRep: no gain, the weights stay as they were loaded.', 'current',
                      logging.WARNING)
        if is_main_process():
            files = save_report(report, config, self.shown.worse, Path(runner.work_dir),
                                Path(runner.work_dir).name)
            print_log(f'DenoiseRep: figures and picture: {", ".join(map(str, files))}', 'current')

    def _save(self, runner) -> None:
        """As CheckpointHook does; before the first iteration it has no method of its own for it."""
        hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
        for hook in hooks:
            hook._save_checkpoint_with_step(runner, 0, meta=dict(epoch=0, iter=0))
            print_log(f'DenoiseRep: nothing is left to train. Plain weights: {hook.last_ckpt}',
                      'current')
        if not hooks:
            print_log('DenoiseRep: nothing is left to train. No file is written: the config has no '
                      'CheckpointHook.', 'current', logging.WARNING)
