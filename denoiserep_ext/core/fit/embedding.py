"""Denoising the final embedding with the noise that labels show: what varies within a class."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..processes import several_processes
from .moments import Moments


class ClassMoments:
    """Moments of embeddings, and their sums class by class.

    Args:
        classes: Number of classes K.
        channels: Length of an embedding d.
        device: Where to keep them.
    """

    def __init__(self, classes: int, channels: int, device: torch.device | str = 'cpu') -> None:
        wide = {'dtype': torch.float64, 'device': device}
        self.all = Moments(1, channels, device)
        self.counts = torch.zeros(classes, **wide)
        self.sums = torch.zeros(classes, channels, **wide)

    @torch.no_grad()
    def update(self, x: Tensor, labels: Tensor) -> None:
        """Add embeddings ``x`` [n, d] of classes ``labels`` [n], 0..K-1.

        Raises:
            ValueError: for a label out of range.
        """
        if not len(x):
            return
        labels = labels.to(x.device)
        if labels.min() < 0 or labels.max() >= len(self.counts):
            raise ValueError(f'Labels {labels.min().item()} to {labels.max().item()} do not fit '
                             f'{len(self.counts)} classes.')
        self.all.update(x.unsqueeze(1))
        self.counts.index_add_(0, labels, torch.ones_like(labels, dtype=torch.float64))
        self.sums.index_add_(0, labels, x.double())

    def merge_(self, other: ClassMoments) -> ClassMoments:
        """Add those of other images.

        Raises:
            ValueError: if they are of other classes or another model.
        """
        if self.sums.shape != other.sums.shape:
            raise ValueError(f'Embeddings of {tuple(other.sums.shape)} (classes, length) do not fit '
                             f'{tuple(self.sums.shape)}: they come from another model or data set.')
        self.all.merge_(other.all)
        self.counts += other.counts.to(self.counts)
        self.sums += other.sums.to(self.sums)
        return self

    def reduced(self) -> ClassMoments:
        """The sum over all processes of the default group; self where there is but one."""
        if not several_processes():
            return self
        result = ClassMoments(*self.sums.shape, self.sums.device)
        result.all = self.all.reduced()
        result.counts, result.sums = self.counts.clone(), self.sums.clone()
        dist.all_reduce(result.counts)
        dist.all_reduce(result.sums)
        return result

    def between_and_within(self) -> tuple[Tensor, Tensor]:
        """Covariance of the class means, each weighted by its images, and the pooled covariance around
        them (divided by images - classes) [d, d], float64.

        Raises:
            ValueError: if nothing can be told apart: fewer than two classes, or none with two images.
            FloatingPointError: if an embedding was not finite.
        """
        seen = self.counts > 0
        counts, images, classes = self.counts[seen], self.all.count, int(seen.sum())
        if classes < 2 or images <= classes:
            raise ValueError(
                f'within_class noise cannot be measured on {images:.0f} images of {classes} classes: it '
                f'takes two classes at least, and several images of a class. Use more images.')
        means = self.sums[seen] / counts.unsqueeze(1) - self.all.mean
        between = (means * counts.unsqueeze(1)).mT @ means / images
        total = self.all.covariance[0]
        if not (between.isfinite().all() and total.isfinite().all()):
            raise FloatingPointError('The embeddings held non-finite values (NaN or infinity), so '
                                     'nothing can be solved. Check the model and images.')
        return between, (total - between) * (images / (images - classes))

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        return {'all': self.all.state_dict(), 'counts': self.counts.clone(), 'sums': self.sums.clone()}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> ClassMoments:
        """The moments of a :meth:`state_dict`."""
        result = cls(*state['sums'].shape)
        result.all.load_state_dict(state['all'])
        result.counts, result.sums = state['counts'].clone(), state['sums'].clone()
        return result


@dataclass(frozen=True)
class Affine:
    """``x -> weight x + offset`` on embeddings.

    Attributes:
        weight: [d, d], float64.
        offset: [d], float64.
        left_out: What the map has left out for all embeddings alike [d], float64, or None.
    """

    weight: Tensor
    offset: Tensor
    left_out: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to embeddings [n, d], in their own precision."""
        return x @ self.weight.to(x).mT + self.offset.to(x)

    def to(self, device: torch.device) -> Affine:
        """The map where the layers are that it is folded into: moments from a file are on the CPU."""
        left_out = None if self.left_out is None else self.left_out.to(device)
        return Affine(self.weight.to(device), self.offset.to(device), left_out)

    def before_linear(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight [out, d] and bias [out] of a linear layer that takes this map's output, folded to take
        its input. Computed in float64 and cast once."""
        wide = weight.double()
        return ((wide @ self.weight).to(weight.dtype),
                (bias.double() + wide @ self.offset).to(bias.dtype))

    def after_linear(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight [d, in] and bias [d] of a linear layer whose output goes through this map, folded.
        Computed in float64 and cast once."""
        return ((self.weight @ weight.double()).to(weight.dtype),
                (self.weight @ bias.double() + self.offset).to(bias.dtype))


def shrunk(covariance: Tensor, samples: float) -> Tensor:
    """A covariance measured on few samples, drawn towards a multiple of the identity by the oracle
    approximating shrinkage of Chen, Wiesel, Eldar and Hero (2010): hardly where samples are many.

    Args:
        covariance: [d, d], float64.
        samples: How many it was measured on (degrees of freedom).
    """
    d = len(covariance)
    scale, squares = covariance.trace() / d, covariance.square().sum()
    spread = (samples + 1 - 2 / d) * (squares - d * scale**2)
    share = ((1 - 2 / d) * squares + d**2 * scale**2) / spread if spread > 0 else torch.ones_like(scale)
    share = share.clamp(0.0, 1.0)
    identity = torch.eye(d, dtype=covariance.dtype, device=covariance.device)
    return (1 - share) * covariance + share * scale * identity


def class_posterior(moments: ClassMoments, strength: float, new_classes: bool = False,
                    centred: bool = False) -> Affine:
    """Posterior mean of an embedding without its noise, ``m + K (K + lambda N)^-1 (x - m)``, with N the
    covariance within classes and C that of the class means.

    What is kept is the class mean, ``K = C``. For the classes measured C spans the few directions in
    which their means differ, and with lambda ``C (C + lambda N)^-1`` tends to a projection onto them. So
    below strength 1 the part of N that is not taken for noise is kept there, ``K = C + (1 - lambda) N``,
    and weak noise changes little.

    Args:
        moments: Of labelled embeddings.
        strength: lambda, how much of N is taken for noise (>= 0); 0 is the identity.
        new_classes: Whether the map is for other classes than those measured (re-identification). These
            are then a sample, and C is an estimate from it, shrunk as N always is (see
            :func:`shrunk`); taken as it is, it would deny new classes all directions but as many as
            there were classes. As an estimate it spans them all, and weak noise changes little anyway.
        centred: Leave the mean m out of the result. It tells no two embeddings apart, but where they
            are compared by the angle between them (cosine) it counts.

    Raises:
        ValueError: for a strength out of range, or see :meth:`ClassMoments.between_and_within`.
        FloatingPointError: likewise.
    """
    if not 0 <= strength < math.inf:
        raise ValueError(f'strength must be a finite number >= 0, got {strength!r}.')
    mean = moments.all.mean[0]
    identity = torch.eye(len(mean), dtype=torch.float64, device=mean.device)
    if strength == 0:
        return _about(mean, identity, centred)
    clean, noise = moments.between_and_within()
    classes = int((moments.counts > 0).sum())
    noise = shrunk(noise, moments.all.count - classes)
    kept = shrunk(clean, classes - 1) if new_classes else clean + max(0.0, 1 - strength) * noise
    factor, failed = torch.linalg.cholesky_ex(kept + strength * noise)
    if failed:
        raise ValueError('within_class: the embeddings do not vary within classes, so there is no noise '
                         'to take out.')
    weight = torch.cholesky_solve(kept, factor).mT.contiguous()
    return _about(mean, weight, centred)


def _about(mean: Tensor, weight: Tensor, centred: bool) -> Affine:
    offset = -(weight @ mean)
    return Affine(weight, offset, mean) if centred else Affine(weight, mean + offset)
