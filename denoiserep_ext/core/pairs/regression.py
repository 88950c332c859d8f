"""The regression of one layer: its sums, its ridge and its solution."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fit.moments import Moments
from ..fit.symmetric import factor_, solve
from ..processes import several_processes


class PairSums:
    """Sums over pairs of what a layer reads and what its output lacks.

    Args:
        groups: Number of blocks G.
        inputs: Numbers a block reads d.
        outputs: Numbers a block gives o.
        device: Where to keep them.
        dtype: Precision of products within one update; sums over updates are float64 always.
    """

    def __init__(self, groups: int, inputs: int, outputs: int, device: torch.device | str = 'cpu',
                 dtype: torch.dtype = torch.float64) -> None:
        wide = {'dtype': torch.float64, 'device': device}
        self.moments = Moments(groups, inputs, device, dtype)
        self.cross = torch.zeros(groups, outputs, inputs, **wide)  # about the moments' reference
        self.lack = torch.zeros(groups, outputs, **wide)
        self.square = torch.zeros((), **wide)

    @property
    def count(self) -> float:
        """Pairs seen."""
        return self.moments.count

    @torch.no_grad()
    def update(self, x: Tensor, r: Tensor) -> None:
        """Add inputs ``x`` [n, G, d] and what the outputs lacked ``r`` [n, G, o]."""
        if not len(x):
            return
        moments, dtype = self.moments, self.moments.dtype
        moments.update(x)
        # Only now: the first update chooses the reference.
        centred = ((x.to(dtype) - moments.reference.to(dtype)) / moments.scale.to(dtype)).transpose(0, 1)
        r = r.to(dtype).transpose(0, 1)
        self.cross += r.mT @ centred
        self.lack += r.sum(1, dtype=torch.float64)
        self.square += r.square().sum(dtype=torch.float64)

    def reduced(self) -> PairSums:
        """The sum over all processes of the default group; self where there is but one."""
        if not several_processes():
            return self
        result = PairSums(*self.cross.shape[:1], self.cross.shape[2], self.cross.shape[1],
                          self.cross.device, self.moments.dtype)
        result.moments = self.moments.reduced()
        if self.moments.reference is not None:
            # About the common reference: x - a = (x - b) + (b - a).
            ratio = self.moments.scale / result.moments.scale
            shift = (self.moments.reference - result.moments.reference) / result.moments.scale
            result.cross = self.cross * ratio + self.lack.unsqueeze(-1) * shift.unsqueeze(-2)
            result.lack, result.square = self.lack.clone(), self.square.clone()
        for value in (result.cross, result.lack, result.square):
            torch.distributed.all_reduce(value)
        return result


@dataclass
class System:
    """Averages of weighted sums.

    Attributes:
        mean: Of the inputs [G, d]; zero where the fit has no shift.
        lack: Mean of what the outputs lack [G, o]; zero likewise.
        inputs: Covariance of the inputs about that mean [G, d, d].
        cross: Covariance of lack and inputs [G, o, d].
        square: Mean square of the lack about its mean, summed over outputs.
    """

    mean: Tensor
    lack: Tensor
    inputs: Tensor
    cross: Tensor
    square: Tensor

    @classmethod
    def of(cls, parts: Sequence[tuple[PairSums, float]], shift: bool) -> System:
        """The system of several sums, each with its weight (they add up to 1).

        Args:
            parts: Sums that have seen something, and weights.
            shift: Whether the fit has a shift (a place for a bias).
        """
        means = [s.moments.mean for s, _ in parts]
        lacks = [s.lack / s.count for s, _ in parts]
        mean = sum(w * m for (_, w), m in zip(parts, means))
        lack = sum(w * r for (_, w), r in zip(parts, lacks))
        if not shift:
            mean, lack = torch.zeros_like(mean), torch.zeros_like(lack)
        inputs, cross, square = 0.0, 0.0, 0.0
        for (sums, weight), own_mean, own_lack in zip(parts, means, lacks):
            off = own_mean - mean
            covariance = sums.moments.covariance.baddbmm_(off.unsqueeze(-1), off.unsqueeze(-2))
            covariance *= weight
            inputs = covariance.add_(inputs)
            del covariance  # before the next one is made: systems may be large
            # E[r (x - mean)]: the sums are about the reference, in units of the scale.
            about = sums.cross / sums.count * sums.moments.scale
            about = about + own_lack.unsqueeze(-1) * (sums.moments.reference - mean).unsqueeze(-2)
            cross = cross + weight * (about - lack.unsqueeze(-1) * off.unsqueeze(-2))
            square = square + weight * (sums.square / sums.count
                                        - (2 * own_lack * lack - lack.square()).sum())
        return cls(mean, lack, inputs, cross, square)

    def solve(self, ridge: float) -> Tensor:
        """``cross (inputs + ridge trace / d)^-1`` [G, o, d]: what to add to the weights.

        Args:
            ridge: Pull towards zero, in units of the inputs' mean variance; infinite: zero.
        """
        if ridge == float('inf'):
            return torch.zeros_like(self.cross)
        power = self.inputs.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
        system = self.inputs.clone()
        # Inputs that are zero throughout get weights that are zero.
        system.diagonal(dim1=-2, dim2=-1).add_(torch.where(power > 0, ridge * power, 1.0))
        factor, failed = factor_(system)
        if failed.any():  # rounding hid the ridge: it is put back eigenvalue by eigenvalue
            values, vectors = torch.linalg.eigh(self.inputs)
            values = values.clamp_min(0) + torch.where(power > 0, ridge * power, 1.0)
            return (self.cross @ vectors / values.unsqueeze(-2)) @ vectors.mT
        return solve(factor, self.cross.mT).mT

    def error(self, step: Tensor, lack: Tensor, mean: Tensor) -> Tensor:
        """``E|r - lack - step (x - mean)|^2`` on these data, of a step that may come from others.

        Args:
            step: [G, o, d]
            lack: Mean lack where it was fitted [G, o].
            mean: Mean input there [G, d].
        """
        over = (self.lack - lack) - (step @ (self.mean - mean).unsqueeze(-1)).squeeze(-1)
        return (self.square - 2 * (step * self.cross).sum() + ((step @ self.inputs) * step).sum()
                + over.square().sum())


@dataclass(frozen=True)
class Fit:
    """A solved regression.

    Attributes:
        step: To add to the weights [G, o, d].
        shift: To add to the bias [G, o], or None.
        ridge: The ridge that was used; infinite for a shift alone, None where nothing is changed.
        before: Mean square of what the outputs lacked: worse images, clean ones.
        after: The same of the fit, cross-validated between the halves.
    """

    step: Tensor
    shift: Tensor | None
    ridge: float | None
    before: tuple[float, float]
    after: tuple[float, float]

    @classmethod
    def nothing(cls, halves: Sequence[tuple[PairSums, PairSums]]) -> Fit:
        """No change."""
        before = tuple(_mean_square([half[kind] for half in halves]) for kind in (0, 1))
        return cls(torch.zeros_like(halves[0][0].cross), None, None, before, before)


def fit_halves(halves: Sequence[tuple[PairSums, PairSums]], shares: tuple[float, float],
               ridges: Sequence[float], shift: bool, choose: bool,
               solve: Callable[[System, float], Tensor] = System.solve) -> Fit:
    """Choose a layer's ridge by cross-validation between halves of the images, and solve with it.

    Args:
        halves: Sums of worse and of clean images, by half.
        shares: What worse and clean images count, adding up to 1.
        ridges: Candidates; infinity is a shift alone.
        shift: Whether there is a place for a shift.
        choose: Whether changing nothing is a candidate, too.
        solve: ``(system, ridge) -> step``.
    """
    nothing = Fit.nothing(halves)
    weighted = [(kind, share) for kind, share in enumerate(shares) if share > 0]
    if not all(half[kind].count for half in halves for kind, _ in weighted):
        return nothing  # too few images to judge by
    errors = torch.zeros(len(ridges), 2, dtype=torch.float64)
    for own, other in (halves, halves[::-1]):
        system = _weighted([own], weighted, shift)
        steps = [solve(system, ridge) for ridge in ridges]
        mean, lack = system.mean, system.lack
        del system
        for kind in (0, 1):
            if other[kind].count:
                seen = System.of([(other[kind], 1.0)], shift)
                found = torch.stack([seen.error(step, lack, mean) for step in steps])
                errors[:, kind] += 0.5 * found.cpu()
                del seen
        del steps
    total = errors @ torch.tensor(shares, dtype=torch.float64)
    best = int(total.argmin())
    if choose and not total[best] < sum(b * s for b, s in zip(nothing.before, shares)):
        return nothing
    system = _weighted(halves, weighted, shift)
    step = solve(system, ridges[best])
    offset = system.lack - (step @ system.mean.unsqueeze(-1)).squeeze(-1) if shift else None
    return Fit(step, offset, ridges[best], nothing.before, tuple(errors[best].tolist()))


def _weighted(halves: Sequence[tuple[PairSums, PairSums]], weighted: Sequence[tuple[int, float]],
              shift: bool) -> System:
    parts = []
    for kind, share in weighted:
        total = sum(half[kind].count for half in halves)
        parts += [(half[kind], share * half[kind].count / total) for half in halves]
    return System.of(parts, shift)


def _mean_square(sums: Sequence[PairSums]) -> float:
    count = sum(each.count for each in sums)
    return sum(each.square.item() for each in sums) / count if count else 0.0
