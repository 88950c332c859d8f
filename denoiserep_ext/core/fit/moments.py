"""First and second moments of a layer's input, accumulated in float64."""
from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..processes import several_processes

PANEL = 512  # rows of the products that are updated together
ROWS = 1024  # feature vectors multiplied at a time: the more, the more is rounded
ACCURACY = 0.02  # share of the noise's variance that rounding may take before products get wider


class Moments:
    """Running mean and second moment of feature vectors, one block per group.

    The mean of the first vectors seen is subtracted and their spread divided out before anything is
    multiplied: large means cost no digits, and huge or tiny features neither overflow nor vanish.
    Products are symmetric, so they are kept and updated in panels of rows that end at the diagonal.

    Args:
        groups: Number of blocks G.
        channels: Channels per block d.
        device: Where to keep them.
        dtype: Precision of the products within one update; sums over updates are float64 always.
            float32 is cheaper, and good to about 1e-6 of the features' variance; where PyTorch may
            take less than that for its products (TF32), float64 is taken.
        noise: Variance of the noise that will be set against these features. Where float32 would
            round more than a fiftieth of it away, an update takes float64.

    Attributes:
        rounding: Variance that may be nothing but rounding, summed over the features seen [G].
    """

    def __init__(self, groups: int, channels: int, device: torch.device | str = 'cpu',
                 dtype: torch.dtype = torch.float64, noise: float = math.inf) -> None:
        self.dtype, self.noise, self.count = dtype, noise, 0.0
        wide = {'dtype': torch.float64, 'device': device}
        self.reference: Tensor | None = None
        self.scale = torch.ones((), **wide)
        # In units of the scale, about the reference.
        self.total = torch.zeros(groups, channels, **wide)
        self.rounding = torch.zeros(groups, **wide)
        self.panels = [torch.zeros(groups, stop - start, stop, **wide)
                       for start, stop in _spans(channels)]

    @property
    def shape(self) -> tuple[int, int]:
        """Groups and channels per group."""
        return tuple(self.total.shape)

    @property
    def numel(self) -> int:
        """Numbers held."""
        return self.size(*self.shape)

    @staticmethod
    def size(groups: int, channels: int) -> int:
        """Numbers that moments of such a layer hold."""
        return groups * (channels + sum((stop - start) * stop for start, stop in _spans(channels)))

    @torch.no_grad()
    def centre_(self, x: Tensor) -> Moments:
        """Take centre and scale from feature vectors ``x`` [n, G, d], which are not counted.

        Processes that share a pass do so from the same vectors, and then agree to float64's rounding
        whatever ``dtype`` is.
        """
        if not len(x):
            return self
        # Rounded to the products' type: the same numbers are subtracted there and added back later.
        self.reference = x.mean(0, dtype=torch.float64).to(self.dtype).to(self.total)
        spread = (x - self.reference).square().mean().sqrt()
        # A power of two divides exactly; constant features have no spread to divide out.
        self.scale = torch.where(spread > 0, spread.log2().round().exp2(), 1.0)
        return self

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Add feature vectors ``x`` [n, G, d] of any floating type."""
        if not len(x):
            return
        if self.reference is None:
            self.centre_(x)
        centred = self._centred(x, self.dtype if torch.get_float32_matmul_precision() == 'highest'
                                else torch.float64)
        if self.noise < math.inf and (self._rounding(centred) > ACCURACY * self.noise).any():
            centred = self._centred(x, torch.float64)
        self.count += len(x)
        self.rounding += len(x) * self._rounding(centred)
        self.total += centred.sum(1, dtype=torch.float64)
        matrix = centred.squeeze(0)  # where there is one group: faster than a batch of one
        for rows in matrix.split(ROWS, -2):
            for (start, stop), panel in zip(_spans(x.shape[-1]), self.panels):
                panel += rows[..., start:stop].mT @ rows[..., :stop]

    def _centred(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        x = x.to(dtype)
        return ((x - self.reference.to(x)) / self.scale.to(x)).transpose(0, 1)

    def _rounding(self, centred: Tensor) -> Tensor:
        variance = self.scale**2 * centred.square().mean((1, 2), dtype=torch.float64)
        return resolution(centred.dtype) * variance

    @property
    def mean(self) -> Tensor:
        """E[x] [G, d], float64."""
        self._require_data()
        return self.reference + self.scale * self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """Cov(x) [G, d, d], float64 (divided by the count, not count - 1)."""
        self._require_data()
        groups, channels = self.shape
        result = self.total.new_empty(groups, channels, channels)
        shift = self.total / self.count
        for (start, stop), panel in zip(_spans(channels), self.panels):
            rows = result[:, start:stop, :stop]
            torch.div(panel, self.count, out=rows)
            rows -= shift[:, start:stop, None] * shift[:, None, :stop]
            rows *= self.scale**2
            # A matrix product is symmetric only to rounding; one triangle stands for both.
            diagonal = result[:, start:stop, start:stop]
            diagonal.copy_(diagonal.tril() + diagonal.tril(-1).mT)
            result[:, :start, start:stop] = result[:, start:stop, :start].mT
        return result

    def second_moment(self, centred: bool) -> Tensor:
        """Cov(x) if ``centred``, else E[x x^T]: what a predictor with and without bias needs."""
        if centred:
            return self.covariance
        mean = self.mean
        return self.covariance.baddbmm_(mean.unsqueeze(-1), mean.unsqueeze(-2))

    def power(self, centred: bool) -> Tensor:
        """Mean of the diagonal of :meth:`second_moment` [G], without computing the rest."""
        diagonal = torch.cat([panel[..., start:].diagonal(dim1=-2, dim2=-1) for (start, _), panel in
                              zip(_spans(self.shape[1]), self.panels)], -1)
        shift = self.total / self.count
        variance = self.scale**2 * (diagonal / self.count - shift.square())
        return (variance if centred else variance + self.mean.square()).mean(-1)

    def decay_(self, factor: float) -> Moments:
        """Let older features count ``factor`` (0..1) times as much."""
        self.count *= factor
        for value in (self.total, self.rounding, *self.panels):
            value *= factor
        return self

    def reset_(self) -> Moments:
        """Forget everything."""
        self.count, self.reference = 0.0, None
        for value in (self.total, self.rounding, *self.panels):
            value.zero_()
        return self

    def merge_(self, other: Moments) -> Moments:
        """Add the moments of other data (another process, another machine).

        Raises:
            ValueError: if they are of another shape.
        """
        if other.shape != self.shape:
            raise ValueError(_another_shape(other.shape, self.shape))
        if other.reference is None:
            return self
        if self.reference is None:
            self.reference, self.scale = other.reference.to(self.total), other.scale.to(self.total)
        ratio = (other.scale.to(self.total) / self.scale)
        shift = (other.reference.to(self.total) - self.reference) / self.scale
        total = other.total.to(self.total) * ratio
        moved = total + other.count * shift
        for (start, stop), mine, theirs in zip(_spans(self.shape[1]), self.panels, other.panels):
            mine += theirs.to(mine) * ratio**2
            mine += total[:, start:stop, None] * shift[:, None, :stop]
            mine += shift[:, start:stop, None] * moved[:, None, :stop]
        self.count += other.count
        self.rounding += other.rounding.to(self.rounding)
        self.total += moved
        return self

    def reduced(self) -> Moments:
        """The sum over all processes of the default group; self where there is but one."""
        if not several_processes():
            return self
        # Every rank may have its own reference; about a common one they can be added.
        reference = torch.zeros_like(self.total) if self.reference is None else self.reference.clone()
        count = torch.tensor(self.count, dtype=torch.float64, device=self.total.device)
        scale = self.scale.clone()
        reference *= count
        for value in (reference, count):
            dist.all_reduce(value)
        dist.all_reduce(scale, dist.ReduceOp.MAX)
        result = Moments(*self.shape, device=self.total.device, dtype=self.dtype)
        if not count:
            return result
        result.reference, result.scale = reference / count, scale
        result.merge_(self)
        for value in (result.total, result.rounding, *result.panels):
            dist.all_reduce(value)
        result.count = count.item()
        return result

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        return copy.deepcopy({'count': self.count, 'reference': self.reference, 'scale': self.scale,
                              'total': self.total, 'rounding': self.rounding,
                              'panels': self.panels})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`state_dict`.

        Raises:
            ValueError: if it is of a layer of another shape.
        """
        if tuple(state['total'].shape) != self.shape:
            raise ValueError(_another_shape(tuple(state['total'].shape), self.shape))
        self.count = float(state['count'])
        self.reference = None if state['reference'] is None else state['reference'].to(self.total)
        self.scale = state['scale'].to(self.total)
        self.total = state['total'].to(self.total, copy=True)
        self.panels = [panel.to(self.total, copy=True) for panel in state['panels']]
        if 'rounding' in state:
            self.rounding = state['rounding'].to(self.total, copy=True)
        else:  # of a version that did not keep it, and took float32
            self.rounding = self.count * resolution(torch.float32) * self.power(centred=True)

    def _require_data(self) -> None:
        if self.reference is None or self.count <= 0:
            raise ValueError('No features were seen: run at least one batch through the model '
                             'before solving.')


def _spans(channels: int) -> list[tuple[int, int]]:
    """First and last row of every panel."""
    return [(start, min(start + PANEL, channels)) for start in range(0, channels, PANEL)]


def resolution(dtype: torch.dtype) -> float:
    """What sums of products may take from a covariance's eigenvalues or add to them, as a share of the
    mean variance: as measured over many shapes and spectra, a few units in the last place."""
    return 8 * torch.finfo(dtype).eps


def _another_shape(theirs: tuple[int, ...], mine: tuple[int, ...]) -> str:
    return (f'Moments of {theirs} (groups, channels) do not fit a layer of {mine}: they come from '
            f'another model or selection.')
