"""Which settings a sweep tries, one after the other."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..corruptions.names import Corruption
from .denoising import Denoising
from .host import Host
from .pairs import PairDenoising
from .sweep import Plan, Point, best_of

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
FURTHER = (10.0, 30.0, 100.0, 300.0, 1000.0)  # for within-class noise whose best is the strongest


@dataclass(frozen=True)
class SweepOptions(Plan):
    """Strengths to try on validation images.

    Within-class noise is tried with and without the mean of embeddings, where that can be left out;
    what leaving it out does alone is strength 0. Without strengths of the user's own it goes on beyond
    the grid as long as the strongest one scores best.

    Args:
        noises: Kinds of noise.
        strengths: Noise levels, above 0; None for the usual ones.
        write_anyway: Write the best one even if it gains nothing.
    """

    noises: Sequence[str]
    strengths: Sequence[float] | None = None
    write_anyway: bool = False

    def __post_init__(self) -> None:
        if self.strengths is not None and (not self.strengths or min(self.strengths) <= 0):
            raise ValueError('strengths must be above 0: the plain model is scored in any case.')
        for noise in self.noises:
            for strength in self._grid:
                Denoising(noise, strength)

    def without_labels(self) -> SweepOptions:
        """The same without noise that is measured from labels."""
        return replace(self, noises=[noise for noise in self.noises if noise != 'within_class'])

    @property
    def _grid(self) -> Sequence[float]:
        return STRENGTHS if self.strengths is None else self.strengths

    def further(self, host: Host, tried: Sequence[Point]) -> list[Denoising]:
        if tried:
            ends = [] if self.strengths is not None else _strongest_is_best(tried)
            return [replace(end, strength=min(s for s in FURTHER if s > end.strength))
                    for end in ends if end.strength < FURTHER[-1]]
        plan = [Denoising(noise, strength) for noise in self.noises for strength in self._grid]
        if 'within_class' in self.noises and host.centres:
            plan += [Denoising('within_class', strength, centred=True)
                     for strength in (0.0, *self._grid)]
        return plan

    def remark(self, tried: Sequence[Point]) -> str:
        lines = []
        beyond = sorted({p.setting.strength for p in tried} - set(self._grid) - {0.0})
        if beyond:
            lines.append(f'within_class was best at the strongest of the grid, so '
                         f'{", ".join(f"{s:g}" for s in beyond)} were tried, too.')
        lines += [f'{last.kind} is still best at the strongest tried, {last.strength:g}: '
                  + ('stronger ones may be better (--sweep LEVEL ...).' if self.strengths is not None
                     else 'the search ends there.') for last in _strongest_is_best(tried)]
        return ' '.join(lines)


def _strongest_is_best(tried: Sequence[Point]) -> list[Denoising]:
    """Of each kind of within-class noise the strongest, if it scores best and above the plain model."""
    kinds: dict[str, list[Point]] = {}
    for point in tried:
        if point.setting.of_embedding:
            kinds.setdefault(point.setting.kind, []).append(point)
    return [best.setting for best in map(best_of, kinds.values()) if best.gain > 0
            and best.setting.strength == max(p.setting.strength for p in kinds[best.setting.kind])]


@dataclass(frozen=True)
class PairSweepOptions(Plan):
    """Settings of corruption noise to try on validation images, clean and under every corruption: clean
    weights with all else as given, then another damping and another ridge at the best of them. Each is
    a whole walk through the layers.

    Args:
        start: What is given.
        conditions: Corruptions to score under; None for clean images is put before them.
        clean_weights: Clean weights to try.
        damping: Share of the step to try at the best clean weight.
        ridge: Ridge to try there.
        write_anyway: Write the best one even if it gains nothing.
    """

    start: PairDenoising
    conditions: Sequence[Corruption | None]
    clean_weights: Sequence[float] = (0.3, 1.0, 3.0)
    damping: float = 0.5
    ridge: float = 0.01
    write_anyway: bool = False
    noises = ('corruption', )

    def __post_init__(self) -> None:
        object.__setattr__(self, 'conditions', (None, *self.conditions))

    def further(self, host: Host, tried: Sequence[Point]) -> list[PairDenoising]:
        if not tried:
            return [self.start.but(clean_weight=weight) for weight in self.clean_weights]
        if len(tried) > len(self.clean_weights):
            return []
        best, known = best_of(tried).setting, {point.setting for point in tried}
        return [other for other in (best.but(damping=self.damping), best.but(ridge=self.ridge))
                if other not in known]
