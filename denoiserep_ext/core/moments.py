"""First and second moments of a layer's input, accumulated in float64."""
from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Moments:
    """Running mean and second moment of feature vectors, one block per group.

    A fixed reference, the mean of the first block seen, is subtracted first: a large mean then
    costs no digits. Weights may be fractional after :meth:`decay_`.

    Args:
        groups: Number of blocks G.
        channels: Channels per block d.
        device: Where to keep them.
        dtype: Precision of the products within one update; sums over updates are float64 always.
            float32 is cheaper, and good to about 1e-6 of the largest variance.
    """

    def __init__(self, groups: int, channels: int, device: torch.device | str = 'cpu',
                 dtype: torch.dtype = torch.float64) -> None:
        self.dtype = dtype
        wide = {'dtype': torch.float64, 'device': device}
        self.count = 0.0
        self.reference: Tensor | None = None
        self.total = torch.zeros(groups, channels, **wide)
        self.products = torch.zeros(groups, channels, channels, **wide)

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Add feature vectors ``x`` [n, G, d] of any floating type."""
        if not len(x):
            return
        x = x.to(self.dtype)
        if self.reference is None:
            # Rounded to x's type: the very same numbers are subtracted here and added back later.
            self.reference = x.mean(0).to(self.total)
        centred = (x - self.reference.to(x.dtype)).transpose(0, 1)
        self.count += len(x)
        self.total += centred.sum(1, dtype=torch.float64)
        self.products += centred.mT @ centred

    @property
    def mean(self) -> Tensor:
        """E[x] [G, d], float64."""
        self._require_data()
        return self.reference + self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """Cov(x) [G, d, d], float64 (divided by the count, not count - 1)."""
        self._require_data()
        shift = self.total / self.count
        # A matrix product is symmetric only to rounding; one triangle stands for both, in files too.
        products = self.products.tril() + self.products.tril(-1).mT
        return products / self.count - shift.unsqueeze(-1) * shift.unsqueeze(-2)

    def second_moment(self, centred: bool) -> Tensor:
        """Cov(x) if ``centred``, else E[x x^T]: what a predictor with and without bias needs."""
        covariance, mean = self.covariance, self.mean
        return covariance if centred else covariance + mean.unsqueeze(-1) * mean.unsqueeze(-2)

    def power(self, centred: bool) -> Tensor:
        """Mean of the diagonal of :meth:`second_moment` [G], without computing the rest."""
        shift = self.total / self.count
        diagonal = self.products.diagonal(dim1=-2, dim2=-1) / self.count - shift.square()
        return (diagonal if centred else diagonal + self.mean.square()).mean(-1)

    def decay_(self, factor: float) -> Moments:
        """Let older features count ``factor`` (0..1) times as much."""
        self.count *= factor
        self.total *= factor
        self.products *= factor
        return self

    def reset_(self) -> Moments:
        """Forget everything."""
        self.count, self.reference = 0.0, None
        self.total.zero_()
        self.products.zero_()
        return self

    def merge_(self, other: Moments) -> Moments:
        """Add the moments of other data (another process, another machine)."""
        if other.reference is None:
            return self
        if self.reference is None:
            self.reference = other.reference.to(self.total)
        total, products = other._about(self.reference)
        self.count += other.count
        self.total += total
        self.products += products
        return self

    def reduced(self) -> Moments:
        """The sum over all processes of the default group (a copy; self alone without one)."""
        result = Moments(*self.total.shape, device=self.total.device)
        if not (dist.is_initialized() and dist.get_world_size() > 1):
            return result.merge_(self)
        # Every rank has its own reference; about zero they can be added.
        zero = torch.zeros_like(self.total)
        total, products = self._about(zero) if self.reference is not None else (zero, self.products)
        count = torch.tensor([self.count], dtype=torch.float64, device=total.device)
        weighted = zero if self.reference is None else self.reference * self.count
        total, products, weighted = total.clone(), products.clone(), weighted.clone()
        for value in (count, total, products, weighted):
            dist.all_reduce(value)
        if not count.item():
            return result
        about_zero = Moments(*self.total.shape, device=self.total.device)
        about_zero.count, about_zero.reference = count.item(), zero
        about_zero.total, about_zero.products = total, products
        result.reference = weighted / count
        return result.merge_(about_zero)

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers; of the symmetric products the lower triangle alone."""
        row, column = self._triangle()
        return {'count': self.count, 'reference': self.reference, 'total': self.total,
                'products': self.products[:, row, column]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`state_dict`.

        Raises:
            ValueError: if it is of a layer of another shape.
        """
        if state['total'].shape != self.total.shape:
            raise ValueError(
                f'Moments of {tuple(state["total"].shape)} (groups, channels) do not fit a layer of '
                f'{tuple(self.total.shape)}: they come from another model or selection.')
        self.count = float(state['count'])
        self.reference = None if state['reference'] is None else state['reference'].to(self.total)
        self.total = state['total'].to(self.total, copy=True)
        row, column = self._triangle()
        self.products[:, row, column] = state['products'].to(self.products)
        self.products[:, column, row] = state['products'].to(self.products)

    def _triangle(self) -> Tensor:
        size = self.products.shape[-1]
        return torch.tril_indices(size, size, device=self.products.device)

    def _about(self, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Sum and products of the same data about another reference."""
        shift = (self.reference - reference).to(self.total)
        cross = self.total.unsqueeze(-1) * shift.unsqueeze(-2)
        products = (self.products + cross + cross.mT
                    + self.count * shift.unsqueeze(-1) * shift.unsqueeze(-2))
        return self.total + self.count * shift, products

    def _require_data(self) -> None:
        if self.reference is None or self.count <= 0:
            raise ValueError('No features were seen: run at least one batch through the model '
                             'before solving.')
