"""DenoiseRep in any mmengine Runner, by one line of config."""
from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import BaseLoop
from torch import nn

from ..core.files.plain import KEY, unpack
from ..core.fit.learning import Learner, figures_told
from ..core.fit.learning_options import LearningOptions
from ..core.fit.recipes import Recipe, enter_phase_
from ..core.layer.config import DenoiseRepConfig
from ..core.layer.selection import by_part, find_part
from ..pairs.options import NOISE
from ..registry import HOOKS
from .converting import convert_or_adopt_
from .generators import Generators
from .host import DenoisingHook, bare_model, check_host
from .options import denoise_config, selection_of
from .pair_hook import PairHook
from .pausing import make_pausable_, pause_, train_outside_
from .plain_checkpoints import PlainCheckpoints, companion_of
from .position import block_ends, by_epoch, position
from .predictor_sgd import SGDOptions
from .saving import may_be_saved
from .start import warn_of_random_weights
from .whole_checkpoints import WholeCheckpoints, bring_along_


@HOOKS.register_module()
class DenoiseRepHook(DenoisingHook):
    """Trains noise predictors in front of a backbone's layers and saves them fused.

    One line is enough: ``custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook')]``. Training
    starts from whatever weights the config loads; every checkpoint it writes is plain (stock keys,
    fused weights) and carries what ``--resume`` needs under the key ``denoiserep``. In testing the
    hook does nothing: the checkpoint is fused already.

    With ``noise='corruption'`` noise is shown rather than assumed, and nothing is trained: the result is
    a :class:`~denoiserep_ext.mm.pair_hook.PairHook`, whose options are described there.

    Args:
        recipe: ``'joint'``, everything at once; ``'alternate'``, blocks of ``period``, predictors
            first; ``'frozen'``, predictors alone, without labels.
        solver: ``'one_pass'``, predictors solved from running moments every ``interval``
            iterations; ``'sgd'``, trained by the denoising loss at every iteration (the paper).
        target: Dotted name of the part of the model to convert, ``''`` for all of it, or a list of
            such names: ``['backbone', 'neck']``. By default the backbone, or all of it where ``layers``
            is a mapping, which names its parts: ``layers=dict(backbone='auto', neck='all')``.
        period: Block length of ``'alternate'`` in units of the train loop: epochs (default 10) or
            iterations (no default).
        interval: Iterations between solvings and between figures in the log (>= 1). The first ones
            come early: after 1, 2, 4, 8, ... iterations.
        moment_tokens: Feature vectors drawn per layer and iteration for the moments; None for all.
        moment_interval: Iterations between such draws. By default every 4th one in ``'joint'``, where
            they would slow training down, and every one otherwise.
        decay: How much moments of the past count after each solving, in [0, 1].
        fold_interval: Iterations between foldings in training (>= 1). With 1 every step trains through
            ``W'`` exactly. With more, ``W' - W`` is kept in between and added, and the gradient by
            ``W'`` is taken for that by ``W``, which is cheaper. Evaluation and checkpoints always fold
            exactly.
        optimizer: For ``'sgd'``: config of the predictors' optimiser. By default the host's type
            and settings without weight decay; its learning rate follows the host's schedule.
        lr_mult: For ``'sgd'`` without ``optimizer``: predictors' learning rate over the host's, > 0
            (default 1).
        loss_weight: For ``'sgd'``: weight of the summed denoising loss, > 0 (default 0.01).
        **denoise: Settings of :class:`~denoiserep_ext.DenoiseRepConfig`.

    Raises:
        ValueError: for an unknown option or choice, or one that the others leave no use for.
    """

    priority = 'VERY_HIGH'  # convert before EMAHook copies the model

    def __new__(cls, *args: Any, **options: Any) -> DenoisingHook:
        """This hook, or the one that takes out noise that is shown."""
        if options.get('noise') == NOISE:
            return PairHook(*args, **options)
        return super().__new__(cls)

    def __init__(self, recipe: str = 'joint', solver: str = 'one_pass',
                 target: str | Sequence[str] | None = None, period: int | None = None,
                 interval: int = 100, moment_tokens: int | None = 256,
                 moment_interval: int | None = None, decay: float = 0.9, fold_interval: int = 1,
                 optimizer: dict | None = None, lr_mult: float | None = None,
                 loss_weight: float | None = None, **denoise: Any) -> None:
        own = tuple(inspect.signature(type(self).__init__).parameters)[1:-1]
        self.target, denoise['layers'] = selection_of({'target': target, **denoise})
        self.config = denoise_config({'solver': solver, **denoise}, also=own)
        if period is not None and recipe != 'alternate':
            raise ValueError(f"period belongs to recipe='alternate', not to {recipe!r}.")
        Recipe(recipe, 1 if period is None else period)  # validates both
        self.recipe_name, self.period = recipe, period
        self.sgd = SGDOptions(optimizer, lr_mult, loss_weight)
        self.options = LearningOptions(interval, moment_tokens, moment_interval, decay,
                                       fold_interval, **self.sgd.learning())
        self._loaded_early = None  # runner that took our checkpoint into a model not yet converted
        self._forget_run()

    def _forget_run(self) -> None:
        self.model: nn.Module | None = None
        self.recipe: Recipe | None = None
        self.learner: Learner | None = None
        self._converted: DenoiseRepConfig | None = None  # settings of the converted layers
        self._companion: PlainCheckpoints | None = None
        self._resumed: dict | None = None

    def _serves(self, runner) -> bool:
        return self._companion in runner.hooks

    @property
    def selected(self) -> dict[str, Any]:
        """What selects layers, by the part of the model to convert."""
        return by_part(self.target, self.config.layers)

    # Set-up

    def before_run(self, runner) -> None:
        """Convert the model, unless the runner only evaluates."""
        if not isinstance(runner._train_loop, BaseLoop) or self._serves(runner):
            return
        check_host(runner)
        if self._loaded_early is runner and runner.iter:
            raise ValueError('The runner was resumed before DenoiseRepHook converted the model, which '
                             'takes fused weights for raw ones: set load_from and resume=True in the '
                             'config instead of calling runner.resume.')
        self._forget_run()  # of another runner
        self.recipe = self._recipe_for(runner)
        self.model = bare_model(runner)
        self._converted = convert_or_adopt_(self.model, self.target, self.config, self.recipe)
        self.sgd.check(self._converted.solver)
        self._companion = companion_of(runner, self.model)
        bring_along_(runner, Generators, WholeCheckpoints)

    def _recipe_for(self, runner) -> Recipe:
        if self.recipe_name == 'alternate' and self.period is None and not by_epoch(runner):
            raise ValueError("recipe='alternate' counts iterations in an iteration-based train "
                             'loop: set period to the iterations of one block.')
        return Recipe(self.recipe_name, self.period or 10)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """On resume, put the raw weights back before any other hook looks at them."""
        if not self._serves(runner):
            self._loaded_early = runner if KEY in checkpoint else None
            return
        if not runner._resume:
            return
        if KEY not in checkpoint:
            print_log('The checkpoint to resume from holds no DenoiseRep state: its weights are '
                      'taken as plain ones and the predictors start from scratch.', 'current',
                      logging.WARNING)
            return
        self._resumed = checkpoint[KEY]
        checkpoint['state_dict'] = unpack(self.model, checkpoint['state_dict'],
                                          self._resumed['raw'])

    def before_train(self, runner) -> None:
        """Start learning from the loaded weights; where the runner has trained before, go on."""
        if self.learner is not None:
            return
        warn_of_random_weights(runner)
        optimizer = partial(self.sgd.build, runner.optim_wrapper, self.options.lr_mult)
        self.learner = self._companion.learner = Learner(self.model, self._converted, self.recipe,
                                                         self.options, optimizer)
        print_log(figures_told(self._converted), 'current')
        make_pausable_(runner.optim_wrapper)
        if self._resumed is not None:
            self.learner.load_state_dict(self._resumed)
            self._resumed = None

    # Every iteration

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Put model and optimiser into the phase; the train loop has just called model.train()."""
        first = self.learner.phase is None
        if self.learner.enter(position(runner)):
            print_log(f'DenoiseRep phase: {self.learner.phase.name}', 'current')
            if not first:
                runner.model.train()
        phase = self.learner.phase
        pause_(runner.optim_wrapper, not phase.host_trains)
        enter_phase_(self.model, phase)
        if not phase.host_trains:
            train_outside_(self.model, [find_part(self.model, name) for name in self.selected])

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Let the predictors learn, before evaluation and checkpoints look at them."""
        if self.learner.phase.predictors_learn:
            self.learner.learn(runner.optim_wrapper.optimizer,
                               block_ends(runner, batch_idx, self.recipe))
        for name, value in self.learner.scalars.items():
            runner.message_hub.update_scalar(f'train/{name}', value)
        if may_be_saved(runner, batch_idx):
            self.learner.share_()

    def after_val_epoch(self, runner, metrics=None) -> None:
        """Before CheckpointHook may save the best model."""
        if self.learner is not None and self._serves(runner):
            self.learner.share_()
