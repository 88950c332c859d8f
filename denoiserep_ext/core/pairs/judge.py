"""A judge without labels: how far a model's outputs are from the trained model's on clean images."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..processes import from_all
from ..trees import tensors_in

# Standard errors that a gain of the whole must exceed. Certainty is not asked for: what is decided is
# whether a model is worth having, not whether that is proved. Chosen on train images held out
# (tests.measure.judge_rules), where two standard errors turned down many models that gained.
MARGIN = 1.0


@dataclass(frozen=True)
class Opinion:
    """Distances of outputs, image by image, from those of the trained model on the clean versions.

    Attributes:
        values: [streams, images]; the first stream is of clean images, the others of worse ones.
        same: For class scores: whether an image is given the same class [streams, images]; else None.
    """

    values: Tensor
    same: Tensor | None

    @classmethod
    def of_all(cls, values: list[Tensor], same: list[Tensor]) -> Opinion:
        """The opinion on batches [streams, images] of this process and all others."""
        values, same = _of_all(values), _of_all(same)
        return cls(torch.cat(values, 1), torch.cat(same, 1) if same else None)

    def of_images(self, which: slice) -> Opinion:
        """The opinion on some of the images."""
        return Opinion(self.values[:, which], None if self.same is None else self.same[:, which])

    def weigh(self, shares: tuple[float, float]) -> Tensor:
        """One distance per image [images], worse and clean ones weighted by ``shares``."""
        return shares[0] * self.values[1:].mean(0) + shares[1] * self.values[0]


def _of_all(parts: list[Tensor]) -> list[Tensor]:
    """The parts of all processes, in the same order on each."""
    return [part for own in from_all([part.cpu() for part in parts]) for part in own]


def resolve(kind: str, output: Any) -> str:
    """The kind of comparison that ``'auto'`` stands for."""
    if kind != 'auto':
        return kind
    tensors = tensors_in(output)
    return 'js' if len(tensors) == 1 and tensors[0].dim() == 2 else 'feature'


def distances(kind: str, output: Any, target: Any, images: int) -> Tensor:
    """Distance of every image's output from its target [images], float64.

    Args:
        kind: ``'js'`` (Jensen-Shannon divergence over dimension 1, the mean over the positions of a
            map), ``'cosine'`` or
            ``'feature'`` (mean over tensors of the squared error in units of the target's variance).
        output: Nested tensors [images, ...]; others are passed over.
        target: The same of the trained model.
        images: How many.

    Raises:
        ValueError: if there is nothing to compare.
    """
    pairs = [(a.double(), b.double()) for a, b in zip(tensors_in(output), tensors_in(target))
             if a.is_floating_point() and a.dim() > 1 and len(a) == images and a.shape == b.shape]
    if not pairs:
        raise ValueError('The model gives no tensors [images, ...] by which a judge could compare it '
                         'with the trained one: pass held_out=0, or a forward that returns features.')
    if kind == 'js':
        return torch.stack([_divergence(a, b).view(images, -1).mean(1) for a, b in pairs]).mean(0)
    pairs = [(a.flatten(1), b.flatten(1)) for a, b in pairs]
    if kind == 'cosine':
        return torch.stack([1 - F.cosine_similarity(a, b) for a, b in pairs]).mean(0)
    return torch.stack([(a - b).square().mean(1) / b.var(unbiased=False).clamp_min(1e-30)
                        for a, b in pairs]).mean(0)


def _divergence(a: Tensor, b: Tensor) -> Tensor:
    """Jensen-Shannon divergence of class scores over dimension 1, at most ln 2. A plain KL divergence
    has no bound: a few images on which a model is sure and wrong would drown all others."""
    a, b = a.log_softmax(1), b.log_softmax(1)
    middle = torch.logaddexp(a, b) - math.log(2)
    parts = [F.kl_div(middle, x, log_target=True, reduction='none').sum(1) for x in (a, b)]
    return (0.5 * sum(parts)).clamp_min(0)  # rounding alone could lead below


def agreement(output: Any, target: Any) -> Tensor:
    """Whether every image is given the same class [images]; of a map, at which share of positions."""
    same = tensors_in(output)[0].argmax(1) == tensors_in(target)[0].argmax(1)
    return same.view(len(same), -1).double().mean(1)


def gain(before: Tensor, after: Tensor) -> tuple[float, float]:
    """Mean of what distances fell by, and its standard error.

    Args:
        before, after: Distances of the same images [images].
    """
    fall = before - after
    if not len(fall):
        return 0.0, math.inf
    error = fall.std().item() / len(fall)**0.5 if len(fall) > 1 else math.inf
    return fall.mean().item(), error
