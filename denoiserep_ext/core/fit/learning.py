"""Predictors that learn beside any host's training: what every adapter's hook calls."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from ..layer.config import DenoiseRepConfig
from ..layer.folding import check_finite
from ..layer.fusion import hold_added_, step_sizes
from ..layer.layers import denoise_layers
from ..layer.loss import track_loss_
from .learning_options import LearningOptions
from .observers import MomentObserver
from .optimizers import described
from .recipes import PHASES, Phase, Recipe
from .running import RunningMoments
from .sgd import PredictorSGD


def figures_told(config: DenoiseRepConfig) -> str:
    """What the figures in a host's log are, so that a large one is not taken for an error."""
    if config.solver == 'one_pass':
        loss = ('of the predictors in use, just before they are solved again: far above the floor at '
                'first, while they come from a few batches and features still move, and close to it '
                'later')
    else:
        both = ', L1 + L2, while the floor is of L2 alone' if config.loss == 'l1+l2' else ''
        loss = f'of the predictors that are trained{both}'
    return (f'In the log, as means over layers: loss_denoise, the denoising loss {loss}; denoise_floor, '
            f"the least L2 loss of a linear predictor; denoise_step_size, ||W' - W|| / ||W||.")


class Learner:
    """The predictors of a converted model while a host trains it.

    The host calls :meth:`enter` before each iteration, :meth:`learn` after each one in which
    predictors learn, and keeps :meth:`state_dict` in its checkpoints.

    Args:
        model: The unwrapped, converted model, its weights loaded.
        config: The settings it was converted with.
        recipe: Who trains when.
        options: How predictors learn.
        optimizer: For ``solver='sgd'``: ``parameters -> Optimizer``.

    Raises:
        ValueError: for ``fold_interval`` with ``train_noise``.
        FloatingPointError: naming a layer whose weights are not finite.
    """

    def __init__(self, model: nn.Module, config: DenoiseRepConfig, recipe: Recipe,
                 options: LearningOptions,
                 optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None) -> None:
        if options.fold_interval > 1 and config.train_noise:
            raise ValueError('fold_interval has no use with train_noise, which denoises the features '
                             'themselves: leave one of the two out.')
        self.model, self.config, self.recipe, self.options = model, config, recipe, options
        for name, layer in denoise_layers(model):
            check_finite(name, layer.weight, layer.bias)
            # An earlier learner of this model may have left its own behind.
            layer.added = None
            layer.observers = tuple(o for o in layer.observers if not isinstance(o, MomentObserver))
        self.sgd, self._base_lrs = None, []
        if config.solver == 'sgd':
            self._track_loss()
        self.moments = RunningMoments(model, options.moment_tokens, options.decay,
                                      options.every(recipe.name))
        if config.solver == 'sgd':
            self.sgd = PredictorSGD(model, optimizer, options.loss_weight)
            self._base_lrs = [group['lr'] for group in self.sgd.optimizer.param_groups]
        self.phase: Phase | None = None
        self._since_folding = 0  # iterations
        self.scalars: dict[str, float] = {}  # for the host's log
        self._figures: dict[str, dict[str, float]] = {}
        self._learned = 0  # iterations in which predictors learned
        self._shared = 0  # of these, how many the processes have shared their moments after

    def _track_loss(self) -> None:
        # Some adapters keep predictors as buffers until the host has built optimiser and wrapper.
        for _, layer in denoise_layers(self.model):
            layer.denoiser.trainable_()
        if not any(layer.observers for _, layer in denoise_layers(self.model)):
            track_loss_(self.model)

    def enter(self, position: int) -> bool:
        """Take up the phase of an epoch or iteration, counted from 0.

        Returns:
            Whether it differs from the one before. After a change the host has to restore its own
            modes; the first phase of a run is a change, too.
        """
        phase = self.recipe.phase(position)
        changed = phase != self.phase
        if changed:
            if self.phase is not None and phase.predictors_learn:
                self.moments.reset_()  # the backbone has moved on since the last block
            self.phase, self._since_folding = phase, 0
        if phase.host_trains and self.options.fold_interval > 1:
            self._fold_now_and_then()
        return changed

    def _fold_now_and_then(self) -> None:
        if self._since_folding % self.options.fold_interval == 0:
            hold_added_(self.model)
        self._since_folding += 1

    def learn(self, host: torch.optim.Optimizer, block_ends: bool) -> None:
        """Let the predictors learn from the forward just run.

        Args:
            host: The host's optimiser; the predictors' learning rates follow its schedule.
            block_ends: Whether this was the last iteration of a block or of the run.
        """
        self._learned += 1
        if self.sgd is not None:
            self._follow_schedule(host)
            self.scalars['loss_denoise'] = self.sgd.step()
        if not (self._is_due() or block_ends):
            return
        self._figures = self.moments.refresh(solve=self.sgd is None)
        self._since_folding = 0
        self._figures['step_size'] = step_sizes(self.model)
        mean = {name: sum(values.values()) / len(values) for name, values in self._figures.items()}
        if self.sgd is None:
            self.scalars['loss_denoise'] = mean['loss']
        self.scalars['denoise_floor'] = mean['floor']
        self.scalars['denoise_step_size'] = mean['step_size']

    def share_(self) -> None:
        """Let every process hold the same state, since one writes the checkpoint for all. Call it on
        all of them before any checkpoint; a second call changes nothing."""
        self._since_folding = 0  # a resumed run folds first, so the one that goes on does, too
        if self._shared != self._learned:
            self.moments.share_()
            self._shared = self._learned

    def _is_due(self) -> bool:
        early = self._learned < self.options.interval and self._learned & (self._learned - 1) == 0
        return early or self._learned % self.options.interval == 0

    def _follow_schedule(self, host: torch.optim.Optimizer) -> None:
        """The predictors' learning rates move as the host's: the same share of their start."""
        group = host.param_groups[0]
        start = group.get('initial_lr', group['lr'])
        share = group['lr'] / start if start else 1.0
        for own, base in zip(self.sgd.optimizer.param_groups, self._base_lrs):
            own['lr'] = base * share

    def _settings(self) -> dict[str, dict[str, Any]]:
        """Everything a resumed run must have in common with the one that was interrupted."""
        optimizer = {} if self.sgd is None else described(self.sgd.optimizer)
        return {'config': asdict(self.config), 'recipe': asdict(self.recipe),
                'options': asdict(self.options), 'optimizer': optimizer}

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs besides raw weights and predictors: tensors and plain Python."""
        state = {**self._settings(), 'phase': self.phase and self.phase.name,
                 'learned': self._learned,
                 'figures': self._figures, 'scalars': self.scalars,
                 'moments': self.moments.state_dict(),
                 'loss_calls': {name: [o.calls for o in layer.observers]
                                for name, layer in denoise_layers(self.model)}}
        if self.sgd is not None:
            state['sgd'] = self.sgd.optimizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`state_dict`.

        Raises:
            ValueError: naming a setting in which the saved run differs.
        """
        for group, mine in self._settings().items():
            saved = state.get(group, {})
            for name, value in mine.items():
                if name in saved and saved[name] != value:
                    raise ValueError(
                        f'Cannot resume: {_option(group, name)} is {value!r} here and '
                        f'{saved[name]!r} in the checkpoint. Resume with the options the run was '
                        f'started with, or start a new run from its weights.')
        self.phase = PHASES.get(state['phase'])
        self._learned = self._shared = state['learned']
        self._figures, self.scalars = state['figures'], state['scalars']
        self.moments.load_state_dict(state['moments'])
        for name, layer in denoise_layers(self.model):
            for observer, calls in zip(layer.observers, state['loss_calls'][name]):
                observer.calls = calls
        if self.sgd is not None:
            self.sgd.optimizer.load_state_dict(state['sgd'])


def _option(group: str, name: str) -> str:
    if group == 'optimizer':
        return f"{name} of the predictors' optimizer"
    return 'recipe' if (group, name) == ('recipe', 'name') else name
