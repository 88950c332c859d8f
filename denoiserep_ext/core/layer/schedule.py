"""The diffusion schedule and the coefficients of one denoising step (paper, section 3)."""
from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from ..checks import integer, is_integer, is_number


@dataclass(frozen=True)
class StepCoefficients:
    """What one denoising step does to a feature ``x``, as plain floats.

    ``x_hat = c3 * u - c1 * eps_hat(u) + c2 * z`` with ``u = scale * x``.

    Attributes:
        alpha_bar: Share of signal left at this step, in (0, 1].
        scale: Factor on ``x`` before the predictor sees it.
        c1: Factor on the predicted noise.
        c2: Factor on fresh noise ``z`` (training only, never fused).
        c3: Factor on the scaled feature.
    """

    alpha_bar: float
    scale: float
    c1: float
    c2: float
    c3: float

    @property
    def identity(self) -> float:
        """Factor on ``x`` itself once predictor and scale are written as one linear map."""
        return self.scale * self.c3

    @property
    def noise_weight(self) -> float:
        """Factor on ``W_D x`` in that map."""
        return self.scale * self.c1


IDENTITY = StepCoefficients(alpha_bar=1.0, scale=1.0, c1=0.0, c2=0.0, c3=1.0)

TINY = 2.0**-126  # float32's least normal number, below which digits get lost


def full_step(level: float) -> StepCoefficients:
    """Coefficients of the step to the posterior mean of the clean feature.

    Args:
        level: Noise over signal, ``lambda = (1 - alpha_bar) / alpha_bar`` (>= 0); 0 is the identity.

    Raises:
        ValueError: for a level that rounds to nothing, or to nothing but noise, in float32.
    """
    if level == 0.0:
        return IDENTITY
    alpha_bar = 1.0 / (1.0 + level)
    _require_range(alpha_bar)
    return StepCoefficients(alpha_bar=alpha_bar, scale=math.sqrt(alpha_bar), c1=math.sqrt(level),
                            c2=0.0, c3=1.0 / math.sqrt(alpha_bar))


def _require_range(alpha_bar: float) -> None:
    if not TINY <= alpha_bar < 1.0:
        raise ValueError(
            f'the share of signal left (alpha_bar) is {alpha_bar!r}, too extreme for float32: features '
            f'would {"vanish" if alpha_bar < TINY else "stay as they are"}. It has to lie in '
            f'[{TINY:.1e}, 1): choose another strength (2e-16 to 8e37), step or schedule.')


@dataclass(frozen=True)
class NoiseSchedule:
    """Linear beta schedule with 1-based steps; step 0 is the identity.

    Args:
        num_steps: T, the number of steps (>= 1).
        beta_start: beta_1, in (0, 1).
        beta_end: beta_T, in (0, 1). The paper's 2e-3, not DDPM's 2e-2.
    """

    num_steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 2e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, 'num_steps', integer('num_steps', self.num_steps, 1))
        for name in ('beta_start', 'beta_end'):
            value = getattr(self, name)
            if not is_number(value) or not 0.0 < value < 1.0:
                raise ValueError(f'{name} must lie in (0, 1), got {value!r}.')
            object.__setattr__(self, name, float(value))

    @cached_property
    def _alpha_bars(self) -> tuple[float, ...]:
        bars = [1.0]
        for step in range(1, self.num_steps + 1):
            bars.append(bars[-1] * (1.0 - self.beta(step)))
        return tuple(bars)

    def check_step(self, step: int, where: str = 'step') -> None:
        """Refuse a step outside 0..T.

        Raises:
            ValueError: naming ``where`` and the remedy.
        """
        if not is_integer(step) or step > self.num_steps:
            raise ValueError(
                f'{where}: step {step!r} is out of range. Steps are integers from 0 (no '
                f'denoising) to {self.num_steps}; lower step_stride, pass explicit steps, or '
                f'raise num_steps.')

    def beta(self, step: int) -> float:
        """Noise variance added at ``step`` (1..T)."""
        if self.num_steps == 1:
            return self.beta_start
        share = (step - 1) / (self.num_steps - 1)
        return self.beta_start + share * (self.beta_end - self.beta_start)

    def alpha_bar(self, step: int) -> float:
        """Share of signal left after ``step`` steps (0..T); 1.0 at step 0."""
        self.check_step(step)
        return self._alpha_bars[step]

    def coefficients(self, step: int, update: str = 'reverse') -> StepCoefficients:
        """Coefficients of one step.

        Args:
            step: 0..T; 0 is the identity.
            update: ``'reverse'``, one reverse step t -> t-1 (the paper); ``'posterior'``, the
                posterior mean of the clean feature given noise of level
                ``(1 - alpha_bar) / alpha_bar``, the full step.

        Raises:
            ValueError: for a step outside 0..T, an unknown update, or a schedule too extreme for
                float32 at this step.
        """
        alpha_bar = self.alpha_bar(step)
        if step == 0:
            return IDENTITY
        _require_range(alpha_bar)
        beta = self.beta(step)
        if update == 'reverse':
            alpha = 1.0 - beta
            return StepCoefficients(
                alpha_bar=alpha_bar,
                scale=1.0,
                c1=beta / (math.sqrt(1.0 - alpha_bar) * math.sqrt(alpha)),
                c2=math.sqrt(beta),
                c3=1.0 / math.sqrt(alpha))
        if update == 'posterior':
            return full_step(self.level(step))
        raise ValueError(f"Unknown update {update!r}: choose 'reverse' or 'posterior'.")

    def level(self, step: int) -> float:
        """Noise over signal, ``(1 - alpha_bar) / alpha_bar``, after ``step`` steps (0..T)."""
        alpha_bar = self.alpha_bar(step)
        return (1.0 - alpha_bar) / alpha_bar if alpha_bar else math.inf

    def nearest_step(self, level: float) -> int:
        """The step whose level is nearest; at least 1 for any level above 0."""
        if level == 0.0:
            return 0
        return min(range(1, self.num_steps + 1), key=lambda step: abs(self.level(step) - level))
