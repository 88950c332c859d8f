"""What to convert and how to denoise, validated once."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..checks import integer, is_number
from .schedule import NoiseSchedule, StepCoefficients, full_step

CHOICES = {
    'noise': ('unit', 'relative'),
    'solver': ('one_pass', 'sgd'),
    'update': ('reverse', 'posterior'),
    'loss': ('l2', 'l1+l2'),
}


@dataclass(frozen=True)
class DenoiseRepConfig:
    """Settings of :func:`~denoiserep_ext.convert_`.

    Args:
        layers: ``'auto'`` (both MLP layers of transformer and SSM blocks, the convs of residual
            blocks), ``'all'`` (every layer that can be converted except heads and position
            networks), a regular expression that must match a layer's whole name, or a sequence of
            name suffixes. A mapping selects part by part: ``{'backbone': 'auto', 'neck': 'all'}``.
        noise: ``'unit'``, N(0, I) as in the paper; ``'relative'``, the same share of each layer's
            own feature power.
        solver: ``'one_pass'``, predictors are buffers to be solved from moments; ``'sgd'``,
            predictors are parameters to be trained by :func:`~denoiserep_ext.denoise_loss`.
        update: ``'reverse'``, one reverse step (the paper); ``'posterior'``, the full step to the
            posterior mean, which denoises far more at the same step number.
        step_stride: Layer l of N gets step ``(N - l + 1) * step_stride``; 0 is the identity.
        steps: Explicit step of every converted layer in forward order, instead of the rule.
        strength: Noise level ``lambda = (1 - abar) / abar`` (>= 0) of one full (posterior) step in every
            layer, instead of steps of the schedule: the variance of the noise taken to be in the
            features, in units of ``noise``. 0 is the identity.
        num_steps: T of the schedule.
        beta_start: beta_1 of the schedule.
        beta_end: beta_T of the schedule.
        loss: ``'l2'`` (paper's figure) or ``'l1+l2'`` (authors' code), for solver ``'sgd'``.
        rank: Rank of the predictor beside a trained multiple of the identity; None is full rank.
            For solver ``'sgd'``.
        loss_tokens: Feature vectors drawn per layer and forward, whatever its images are, for the
            denoising loss; None uses all. For solver ``'sgd'``.
        train_noise: Add the step's fresh noise ``c2 * z`` while training. Never fused. For update
            ``'reverse'``.
        seed: Seed of everything drawn here; the global generators are never touched.

    Raises:
        ValueError: for an unknown choice or a value out of range.
        TypeError: for a value of the wrong type.
    """

    layers: str | Sequence[str] | Mapping[str, str | Sequence[str]] = 'auto'
    noise: str = 'unit'
    solver: str = 'one_pass'
    update: str = 'reverse'
    step_stride: int = 1
    steps: Sequence[int] | None = None
    strength: float | None = None
    num_steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 2e-3
    loss: str = 'l2'
    rank: int | None = None
    loss_tokens: int | None = None
    train_noise: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f'Unknown {name} {getattr(self, name)!r}: choose one of {", ".join(choices)}.')
        for name in ('rank', 'loss_tokens'):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, integer(name, value, 1))
        if self.rank is not None and self.solver != 'sgd':
            raise ValueError("rank needs solver='sgd': the one-pass solution is full rank.")
        for name in ('step_stride', 'seed'):
            object.__setattr__(self, name, integer(name, getattr(self, name)))
        if self.steps is not None:
            object.__setattr__(self, 'steps', _steps(self.steps))
        if self.strength is not None:
            self._check_strength()
        object.__setattr__(self, 'layers', _selection(self.layers))
        if self.train_noise and self.update != 'reverse':
            raise ValueError("train_noise needs update='reverse': a full step adds no noise.")
        schedule = self.schedule  # validates its own three fields
        for name in ('num_steps', 'beta_start', 'beta_end'):
            object.__setattr__(self, name, getattr(schedule, name))

    def _check_strength(self) -> None:
        value = self.strength
        if not is_number(value) or not 0 <= value < math.inf:
            raise ValueError(f'strength must be a finite number >= 0, got {value!r}.')
        if self.steps is not None or self.step_stride != 1:
            raise ValueError('strength sets the noise level itself: give it without steps and '
                             'step_stride.')
        object.__setattr__(self, 'strength', float(value))
        try:
            full_step(self.strength)
        except ValueError as error:
            raise ValueError(f'strength={value!r}: {error}') from None
        object.__setattr__(self, 'update', 'posterior')

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule these settings describe."""
        return NoiseSchedule(self.num_steps, self.beta_start, self.beta_end)

    def steps_for(self, names: Sequence[str]) -> tuple[int, ...]:
        """Step of each layer, in forward order (paper, section 3.2: the input side is noisiest).

        Args:
            names: Names of the converted layers in forward order.

        Raises:
            ValueError: if explicit steps do not match the layers, or a step leaves 0..T or is too
                extreme for float32.
        """
        count = len(names)
        if self.strength is not None:
            return (self.schedule.nearest_step(self.strength), ) * count
        if self.steps is not None:
            if len(self.steps) != count:
                raise ValueError(
                    f'steps lists {len(self.steps)} values for {count} converted layers; give one '
                    f'per layer in forward order ({names[0]} ... {names[-1]}).')
            steps = self.steps
        else:
            steps = tuple((count - index) * self.step_stride for index in range(count))
        for name, step in zip(names, steps):
            self.schedule.check_step(step, where=name)
            try:
                self.coefficients(step)
            except ValueError as error:
                raise ValueError(f'{name}: at step {step}, {error}') from None
        return steps

    def coefficients(self, step: int) -> StepCoefficients:
        """What a layer at ``step`` does to its features; with ``strength`` its exact level counts and
        the step, the nearest one, is for reports."""
        if self.strength is not None:
            return full_step(self.strength)
        return self.schedule.coefficients(step, self.update)


def _steps(steps: Any) -> tuple[int, ...]:
    # NumPy's arrays are no Sequence, but they have an order, too.
    if isinstance(steps, (str, bytes, Mapping)) or not (
            hasattr(steps, '__len__') and hasattr(steps, '__getitem__')):
        raise TypeError(f'steps must be a sequence of integers, got {steps!r}.')
    return tuple(integer(f'steps[{place}]', step) for place, step in enumerate(steps))


def _selection(layers: Any) -> str | tuple[str, ...] | dict[str, str | tuple[str, ...]]:
    if isinstance(layers, Mapping) and layers:
        parts = {str(part): _selection(inner) for part, inner in layers.items()}
        if not any(isinstance(inner, dict) for inner in parts.values()):
            return parts
    elif isinstance(layers, str):
        return layers
    elif isinstance(layers, Sequence) and all(isinstance(name, str) for name in layers):
        return tuple(layers)
    raise TypeError(f'layers must be a string, a sequence of strings, or a mapping from parts of the '
                    f'model to such, got {layers!r}.')
