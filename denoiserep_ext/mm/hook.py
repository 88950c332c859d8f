"""DenoiseRep in any mmengine Runner, by one line of config."""
from __future__ import annotations

import inspect
import logging
from functools import partial
from typing import Any

import torch
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop
from torch import nn

from ..core.files.plain import KEY, unpack
from ..core.fit.learning import Learner, LearningOptions, optimizer_like
from ..core.fit.recipes import Recipe, enter_phase_
from ..core.layer.conversion import convert_
from ..core.layer.layers import denoise_layers
from ..core.layer.selection import find_part
from ..registry import HOOKS
from .options import denoise_config, target_of
from .pausing import make_pausable_, pause_, train_outside_
from .plain_checkpoints import PlainCheckpoints


@HOOKS.register_module()
class DenoiseRepHook(Hook):
    """Trains noise predictors in front of a backbone's layers and saves them fused.

    One line is enough: ``custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook')]``. Training
    starts from whatever weights the config loads; every checkpoint it writes is plain (stock keys,
    fused weights) and carries what ``--resume`` needs under the key ``denoiserep``. In testing the
    hook does nothing: the checkpoint is fused already.

    Args:
        recipe: ``'joint'``, everything at once; ``'alternate'``, blocks of ``period``, predictors
            first; ``'frozen'``, predictors alone, without labels.
        solver: ``'one_pass'``, predictors solved from running moments every ``interval``
            iterations; ``'sgd'``, trained by the denoising loss at every iteration (the paper).
        target: Dotted name of the part of the model to convert, ``''`` for all of it. By default the
            backbone, or all of it where ``layers`` is a mapping, which names its parts:
            ``layers=dict(backbone='auto', neck='all', bbox_head='all')``.
        period: Block length of ``'alternate'`` in units of the train loop: epochs (default 10) or
            iterations (no default).
        interval: Iterations between solvings and between figures in the log (>= 1). The first ones
            come early: after 1, 2, 4, 8, ... iterations.
        moment_tokens: Feature vectors drawn per layer and iteration for the moments; None for all.
        moment_interval: Iterations between such draws. By default every 4th one in ``'joint'``, where
            they would slow training down, and every one otherwise.
        decay: How much moments of the past count after each solving, in [0, 1].
        optimizer: For ``'sgd'``: config of the predictors' optimiser. By default the host's type
            and settings without weight decay; its learning rate follows the host's schedule.
        lr_mult: For ``'sgd'`` without ``optimizer``: predictors' learning rate over the host's.
        loss_weight: For ``'sgd'``: weight of the summed denoising loss.
        **denoise: Settings of :class:`~denoiserep_ext.DenoiseRepConfig`.

    Raises:
        ValueError: for an unknown option or choice.
    """

    priority = 'VERY_HIGH'  # convert before EMAHook copies the model

    def __init__(self, recipe: str = 'joint', solver: str = 'one_pass', target: str | None = None,
                 period: int | None = None, interval: int = 100, moment_tokens: int | None = 256,
                 moment_interval: int | None = None, decay: float = 0.9,
                 optimizer: dict | None = None, lr_mult: float = 1.0, loss_weight: float = 0.01,
                 **denoise: Any) -> None:
        own = tuple(inspect.signature(type(self)).parameters)[:-1]
        self.config = denoise_config({'solver': solver, **denoise}, also=own)
        if period is not None and recipe != 'alternate':
            raise ValueError(f"period belongs to recipe='alternate', not to {recipe!r}.")
        Recipe(recipe, 1 if period is None else period)  # validates both
        self.options = LearningOptions(interval, moment_tokens, moment_interval, decay, loss_weight)
        self.recipe_name, self.period = recipe, period
        self.target = target_of({'target': target, 'layers': self.config.layers})
        self.optimizer, self.lr_mult = optimizer, lr_mult
        self.recipe: Recipe | None = None
        self.model: nn.Module | None = None
        self.learner: Learner | None = None
        self._resumed: dict | None = None

    # Set-up

    def before_run(self, runner) -> None:
        """Convert the model, unless the runner only evaluates."""
        if self.model is not None or not isinstance(runner._train_loop, BaseLoop):
            return
        _check_host(runner)
        self.recipe = self._recipe_for(runner)
        self.model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        part = find_part(self.model, self.target)
        if any(True for _ in denoise_layers(part)):
            self._adopt(part)
        else:
            report = convert_(part, self.config)
            print_log(f'DenoiseRep converts {self.target or "the model"} '
                      f'(recipe {self.recipe.name}, solver {self.config.solver}):\n{report}',
                      'current')
        runner.register_hook(PlainCheckpoints(self.model, lambda: self.learner.state_dict()))

    def _adopt(self, part: nn.Module) -> None:
        """Take over a backbone that DenoiseRepBackbone converted, with the settings given there."""
        self.config = next(layer for _, layer in denoise_layers(part)).denoise_config
        if self.config.solver == 'sgd':  # now, before EMAHook pairs parameters with its copy's
            for _, layer in denoise_layers(part):
                layer.denoiser.trainable_()
        print_log(f'DenoiseRep trains the {sum(1 for _ in denoise_layers(part))} layers that '
                  f'DenoiseRepBackbone converted, with its settings: {self.config}', 'current')

    def _parts(self) -> list[nn.Module]:
        target, layers = find_part(self.model, self.target), self.config.layers
        return [find_part(target, name) for name in layers] if isinstance(layers, dict) else [target]

    def _recipe_for(self, runner) -> Recipe:
        by_epoch = isinstance(runner._train_loop, EpochBasedTrainLoop)
        if self.recipe_name == 'alternate' and self.period is None and not by_epoch:
            raise ValueError("recipe='alternate' counts iterations in an iteration-based train "
                             'loop: set period to the iterations of one block.')
        return Recipe(self.recipe_name, self.period or 10)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """On resume, put the raw weights back before any other hook looks at them."""
        if self.model is None or not runner._resume:
            return
        if KEY not in checkpoint:
            print_log('The checkpoint to resume from holds no DenoiseRep state: its weights are '
                      'taken as plain ones and the predictors start anew.', 'current', logging.WARNING)
            return
        self._resumed = checkpoint[KEY]
        checkpoint['state_dict'] = unpack(self.model, checkpoint['state_dict'],
                                          self._resumed['raw'])

    def before_train(self, runner) -> None:
        """Start learning from the loaded weights."""
        self.learner = Learner(self.model, self.config, self.recipe, self.options,
                               partial(self._build_optimizer, runner.optim_wrapper))
        make_pausable_(runner.optim_wrapper)
        if self._resumed is not None:
            self.learner.load_state_dict(self._resumed)
            self._resumed = None

    def _build_optimizer(self, wrapper: OptimWrapper, parameters) -> torch.optim.Optimizer:
        if self.optimizer is not None:
            return OPTIMIZERS.build({**self.optimizer, 'params': parameters})
        host = wrapper.optimizer
        return optimizer_like(host, host.defaults['lr'] * self.lr_mult, parameters)

    # Every iteration

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Put model and optimiser into the phase; the train loop has just called model.train()."""
        first = self.learner.phase is None
        if self.learner.enter(self._position(runner)):
            print_log(f'DenoiseRep phase: {self.learner.phase.name}', 'current')
            if not first:
                runner.model.train()
        phase = self.learner.phase
        pause_(runner.optim_wrapper, not phase.host_trains)
        enter_phase_(self.model, phase)
        if not phase.host_trains:
            train_outside_(self.model, self._parts())

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Let the predictors learn, before evaluation and checkpoints look at them."""
        if self.learner.phase.predictors_learn:
            self.learner.learn(runner.optim_wrapper.optimizer, self._block_ends(runner, batch_idx))
        for name, value in self.learner.scalars.items():
            runner.message_hub.update_scalar(f'train/{name}', value)
        if _state_leaves_process(runner, batch_idx):
            self.learner.moments.share_()

    def _block_ends(self, runner, batch_idx: int) -> bool:
        if runner.iter + 1 >= runner.max_iters:
            return True
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            return self.end_of_epoch(runner.train_dataloader, batch_idx) and self.recipe.ends(
                runner.epoch)
        return self.recipe.ends(runner.iter)

    def _position(self, runner) -> int:
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        return runner.epoch if by_epoch else runner.iter


def _check_host(runner) -> None:
    """Refuse hosts whose weights are handled behind the layers' backs."""
    if is_model_wrapper(runner.model) and not isinstance(runner.model, MMDistributedDataParallel):
        raise TypeError(f'DenoiseRepHook works with a bare model or MMDistributedDataParallel, not '
                        f'with {type(runner.model).__name__}.')
    if runner.cfg.get('efficient_conv_bn_eval'):
        raise ValueError('efficient_conv_bn_eval reads the convs\' weights past their forward and '
                         'would bypass DenoiseRep: remove it from the config.')
    for hook in runner.hooks:
        if isinstance(hook, EMAHook) and hasattr(hook, 'ema_model'):
            raise ValueError('EMAHook has copied the model before DenoiseRepHook could convert it: '
                             'give EMAHook a lower priority (its default, NORMAL, is fine).')


def _state_leaves_process(runner, batch_idx: int) -> bool:
    """Whether a checkpoint may be written before the next iteration. Only one process writes it, so
    what it writes must be the same on all."""
    if isinstance(runner.train_loop, EpochBasedTrainLoop) and batch_idx + 1 == len(
            runner.train_dataloader):
        return True
    if runner.iter + 1 >= runner.max_iters:
        return True
    return any(isinstance(hook, CheckpointHook) and not hook.by_epoch
               and hook.every_n_train_iters(runner, hook.interval) for hook in runner.hooks)
