"""Metric against strength from one pass: chosen on validation images, reported on test images."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from ..paired import interval
from .denoising import Denoising, denoise_
from .host import Host, Scores
from .passing import PassMoments

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Point:
    """One strength on the validation images.

    Attributes:
        denoising: What was taken out.
        scores: What the model then scored.
        gain: Mean over units (parts, identities) of what it scored above the plain model.
        half: Half the width of that mean's 95 % interval.
        cost: Of a map of the final embedding, in words.
    """

    denoising: Denoising
    scores: Scores
    gain: float
    half: float
    cost: str | None = None


@dataclass(frozen=True)
class Sweep:
    """All strengths, and the plain model's scores, with the name of their units."""

    plain: Scores
    points: tuple[Point, ...]
    unit: str

    @property
    def best(self) -> Point:
        """The point with the highest metric; of equal ones the weakest."""
        return max(self.points, key=lambda p: (p.scores.value, -p.denoising.strength))

    @property
    def gains(self) -> bool:
        """Whether the best one scores above the plain model beyond the noise of the units."""
        return self.best.gain - self.best.half > 0

    @property
    def verdict(self) -> str:
        """One plain sentence."""
        best, metric = self.best, self.plain.metric
        text = (f'{metric} on validation: plain {self.plain.value:.4g}, best {best.scores.value:.4g} at '
                f'{best.denoising} ({best.gain:+.4g}, 95 % interval {best.gain - best.half:+.4g} to '
                f'{best.gain + best.half:+.4g} over {len(self.plain.units)} {self.unit}, best of '
                f'{len(self.points)} tried)')
        if self.gains:
            return f'{text}: higher than the plain model.'
        if all(point.scores.value == self.plain.value for point in self.points):
            return f'{text}: no gain, the curve is flat.'
        if best.scores.value <= self.plain.value:
            return f'{text}: no gain, nothing scores above the plain model.'
        return f'{text}: no gain beyond the noise of the validation images.'


def run_sweep(host: Host, layers: Any, moments: PassMoments, noises: Sequence[str],
              strengths: Sequence[float]) -> Sweep:
    """Solve and score every noise and strength on the host's validation images.

    Args:
        host: The model; as it was loaded afterwards.
        layers: Selection that the moments were taken of.
        moments: What one pass has seen: it serves every strength.
        noises: Kinds of noise.
        strengths: Noise levels above 0. Within-class noise is tried with and without the mean of
            embeddings, where that can be left out; what leaving it out does alone is strength 0.

    Raises:
        ValueError, FloatingPointError: see :func:`~denoiserep_ext.calibrate.denoising.denoise_`.
    """
    host.restore()
    plain, points = host.validate(), []
    plan = [Denoising(noise, strength) for noise in noises for strength in strengths]
    if 'within_class' in noises and host.centres:
        plan += [Denoising('within_class', strength, centred=True) for strength in (0.0, *strengths)]
    progress = tqdm(plan, desc='strengths', unit='point')
    try:
        for denoising in progress:
            cost = denoise_(host, layers, moments, denoising).cost
            scores = host.validate()
            gain, half = interval(scores.units - plain.units)
            points.append(Point(denoising, scores, gain, half, cost))
            progress.set_postfix_str(f'{denoising}: {scores.metric} {scores.value:.4g}')
    finally:
        host.restore()
    return Sweep(plain, tuple(points), host.unit)
