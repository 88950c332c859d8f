"""Predictors that learn beside any host's training: what every adapter's hook drives."""
from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ..checks import integer
from ..layer.config import DenoiseRepConfig
from ..layer.fusion import step_sizes
from ..layer.layers import check_finite, denoise_layers
from ..layer.loss import track_loss_
from .recipes import PHASES, Phase, Recipe
from .running import RunningMoments
from .sgd import PredictorSGD


@dataclass(frozen=True)
class LearningOptions:
    """When and how predictors learn while a host trains.

    Args:
        interval: Iterations between solvings and between figures in the log (>= 1). The first ones
            come early: after 1, 2, 4, 8, ... iterations.
        moment_tokens: Feature vectors drawn per layer and iteration for the moments; None for all.
        moment_interval: Iterations between such draws (>= 1). By default every 4th one in ``'joint'``,
            where they would slow training down, and every one otherwise.
        decay: How much moments of the past count after each solving, in [0, 1].
        loss_weight: For ``solver='sgd'``: weight of the summed denoising loss.

    Raises:
        ValueError: for a value out of range.
    """

    interval: int = 100
    moment_tokens: int | None = 256
    moment_interval: int | None = None
    decay: float = 0.9
    loss_weight: float = 0.01

    def __post_init__(self) -> None:
        for name in ('interval', 'moment_interval', 'moment_tokens'):
            value = getattr(self, name)
            if value is None and name != 'interval':
                continue
            object.__setattr__(self, name, integer(name, value, 1))
        if not 0.0 <= self.decay <= 1.0:
            raise ValueError(f'decay must lie in [0, 1], got {self.decay!r}.')

    def every(self, recipe: str) -> int:
        """Iterations between draws for the moments."""
        if self.moment_interval is not None:
            return self.moment_interval
        return 4 if recipe == 'joint' else 1


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
        FloatingPointError: naming a layer whose weights are not finite.
    """

    def __init__(self, model: nn.Module, config: DenoiseRepConfig, recipe: Recipe,
                 options: LearningOptions,
                 optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None) -> None:
        self.model, self.config, self.recipe, self.options = model, config, recipe, options
        for name, layer in denoise_layers(model):
            check_finite(name, layer.weight, layer.bias)
        self.sgd, self._base_lrs = None, []
        if config.solver == 'sgd':
            self._track_loss()
        self.moments = RunningMoments(model, options.moment_tokens, options.decay,
                                      options.every(recipe.name))
        if config.solver == 'sgd':
            self.sgd = PredictorSGD(model, optimizer, options.loss_weight)
            self._base_lrs = [group['lr'] for group in self.sgd.optimizer.param_groups]
        self.phase: Phase | None = None
        self.scalars: dict[str, float] = {}  # for the host's log
        self._figures: dict[str, dict[str, float]] = {}
        self._learned = 0  # iterations in which predictors learned

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
        if phase == self.phase:
            return False
        if self.phase is not None and phase.predictors_learn:
            self.moments.reset_()  # the backbone has moved on since the last block
        self.phase = phase
        return True

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
        self._figures['step_size'] = step_sizes(self.model)
        mean = {name: sum(values.values()) / len(values) for name, values in self._figures.items()}
        if self.sgd is None:
            self.scalars['loss_denoise'] = mean['loss']
        self.scalars['denoise_floor'] = mean['floor']
        self.scalars['denoise_step_size'] = mean['step_size']

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

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs besides raw weights and predictors: tensors and plain Python."""
        state = {'config': asdict(self.config), 'recipe': asdict(self.recipe),
                 'phase': self.phase.name, 'learned': self._learned,
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
        for key, mine in (('config', asdict(self.config)), ('recipe', asdict(self.recipe))):
            odd = [name for name, value in mine.items() if state[key].get(name) != value]
            if odd:
                raise ValueError(
                    f'Cannot resume: {odd[0]} is {mine[odd[0]]!r} here and '
                    f'{state[key].get(odd[0])!r} in the checkpoint. Resume with the options the '
                    f'run was started with, or start anew from its weights.')
        self.phase = PHASES[state['phase']]
        self._learned = state['learned']
        self._figures, self.scalars = state['figures'], state['scalars']
        self.moments.load_state_dict(state['moments'])
        for name, layer in denoise_layers(self.model):
            for observer, calls in zip(layer.observers, state['loss_calls'][name]):
                observer.calls = calls
        if self.sgd is not None:
            self.sgd.optimizer.load_state_dict(state['sgd'])


def optimizer_like(host: torch.optim.Optimizer, lr: float, parameters: list[nn.Parameter],
                   kind: type[torch.optim.Optimizer] | None = None) -> torch.optim.Optimizer:
    """An optimiser of the host's settings for the predictors, without weight decay, which would pull
    them off their optimum.

    Args:
        host: The host's optimiser.
        lr: Learning rate.
        parameters: The predictors'.
        kind: Its type; the host's by default.
    """
    kind = kind or type(host)
    accepted = inspect.signature(kind).parameters
    settings = {name: value for name, value in host.defaults.items() if name in accepted}
    settings.update(lr=lr)
    if 'weight_decay' in settings:
        settings['weight_decay'] = 0.0
    return kind(parameters, **settings)
