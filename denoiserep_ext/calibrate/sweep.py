"""Settings tried on validation images; the best is reported on test images."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from ..corruptions.names import Corruption
from ..paired import interval
from .host import Host
from .noise import Collected, Setting
from .scores import Scores, mean_over_conditions


@dataclass(frozen=True)
class Point:
    """One setting on the validation images.

    Attributes:
        setting: What was taken out, and how.
        scores: What the model then scored.
        gain: Mean over units (parts, identities) of what it scored above the plain model.
        half: Half the width of that mean's 95 % interval.
        cost: Of a map of the final embedding, in words.
    """

    setting: Setting
    scores: Scores
    gain: float
    half: float
    cost: str | None = None


@dataclass(frozen=True)
class Sweep:
    """All settings, the plain model's scores, the name of their units, and what else there is to say."""

    plain: Scores
    points: tuple[Point, ...]
    unit: str
    remark: str = ''

    @property
    def best(self) -> Point:
        """The point with the highest metric; of equal ones the most cautious."""
        return best_of(self.points)

    @property
    def gains(self) -> bool:
        """Whether the best one scores above the plain model beyond the noise of the units."""
        return self.best.gain - self.best.half > 0

    @property
    def verdict(self) -> str:
        """One plain sentence."""
        best, metric = self.best, self.plain.metric
        text = (f'{metric} on validation: plain {self.plain.value:.4g}, best {best.scores.value:.4g} at '
                f'{best.setting} ({best.gain:+.4g}, 95 % interval {best.gain - best.half:+.4g} to '
                f'{best.gain + best.half:+.4g} over {len(self.plain.units)} {self.unit}, best of '
                f'{len(self.points)} tried)')
        if self.gains:
            return f'{text}: higher than the plain model.'
        if all(point.scores.value == self.plain.value for point in self.points):
            return f'{text}: no gain, the curve is flat.'
        if best.scores.value <= self.plain.value:
            return f'{text}: no gain, nothing scores above the plain model.'
        return f'{text}: no gain beyond the noise of the validation images.'


class Plan(ABC):
    """What is tried, and what it is scored on.

    Attributes:
        noises: Kinds of noise.
        conditions: Corruptions of the images it is scored on, None for clean ones; their mean counts.
        write_anyway: Write the best one even if it gains nothing.
    """

    noises: Sequence[str]
    conditions: Sequence[Corruption | None] = (None, )
    write_anyway: bool = False

    @abstractmethod
    def further(self, host: Host, tried: Sequence[Point]) -> Sequence[Setting]:
        """What to try next, given all that has been tried; nothing at the end."""

    def remark(self, tried: Sequence[Point]) -> str:
        """What else a reader of the figures has to know."""
        return ''


def best_of(points: Sequence[Point]) -> Point:
    """The point with the highest metric; of equal ones the most cautious."""
    return max(points, key=lambda p: (p.scores.value, p.setting.caution))


def run_sweep(host: Host, collected: Collected, plan: Plan) -> Sweep:
    """Denoise by and score every setting of a plan on the host's validation images.

    Args:
        host: The model; as it was loaded afterwards.
        collected: What was collected from its images: it serves every setting.
        plan: What to try, and the conditions to score it under.

    Raises:
        ValueError, FloatingPointError: see :meth:`~denoiserep_ext.calibrate.noise.Collected.denoise_`.
    """
    host.restore()
    plain, points = mean_over_conditions(host.validate, plan.conditions), []
    progress = tqdm(desc='settings', unit='setting', total=0)
    try:
        while settings := plan.further(host, points):
            progress.total += len(settings)
            for setting in settings:
                cost = collected.denoise_(setting).cost
                scores = mean_over_conditions(host.validate, plan.conditions)
                gain, half = interval(scores.units - plain.units)
                points.append(Point(setting, scores, gain, half, cost))
                progress.update()
                progress.set_postfix_str(f'{setting}: {scores.metric} {scores.value:.4g}')
    finally:
        progress.close()
        host.restore()
    return Sweep(plain, tuple(points), host.unit, plan.remark(points))
