"""The arithmetic of the fold: a predictor and a layer as one layer (method of the paper, fusion)."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .predictor import NoisePredictor
from .schedule import StepCoefficients


def fold(weight: Tensor, bias: Tensor | None, predictor: NoisePredictor,
         coefficients: StepCoefficients) -> tuple[Tensor, Tensor | None]:
    """``W' = W (C3 I - C1 W_D)`` and ``b' = b - C1 W b_D``, in the precision of ``weight``;
    differentiable in ``W`` and ``b``, never in the predictor.

    A predictor on its way from unfitted (0) to fitted (1), as in an average of weights, counts by
    that share.

    Args:
        weight: [out, in] or [out, in / G, kh, kw].
        bias: [out], of the same type, or None.
        predictor: ``W_D`` [G, in / G, in / G] and ``b_D`` [G, in / G], or no ``b_D``.
        coefficients: Of the layer's step.
    """
    matrix = predictor.matrix(weight.dtype).detach()
    fitted: Tensor | float = 1.0
    if not torch.compiler.is_compiling() and predictor.wholly_fitted:
        folded = _OneProduct.apply(weight, matrix, coefficients.identity, -coefficients.noise_weight)
    else:
        fitted = predictor.fitted.to(weight)
        folded = combine(weight, map_inputs(weight, matrix), coefficients, fitted)
    if bias is None or predictor.bias is None:
        return folded, bias
    shift = shift_inputs(weight, predictor.bias.detach().to(weight))
    return folded, bias - fitted * coefficients.c1 * shift


class _OneProduct(torch.autograd.Function):
    """``keep * W + mix * W W_D`` in one product each way: to multiply and add whole weights beside it
    would cost as much again."""

    @staticmethod
    def forward(ctx, weight: Tensor, matrix: Tensor, keep: float, mix: float) -> Tensor:
        ctx.save_for_backward(matrix)
        ctx.factors = keep, mix
        return _in_one_product(weight, matrix, keep, mix)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        matrix, = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            return _in_one_product(gradient, matrix.mT, *ctx.factors), None, None, None


def _in_one_product(weight: Tensor, matrix: Tensor, keep: float, mix: float) -> Tensor:
    if weight.dim() == 2:
        return torch.addmm(weight, weight, matrix[0], beta=keep, alpha=mix)
    mixed = on_rows(weight, len(matrix),
                    lambda rows: torch.baddbmm(rows, rows, matrix, beta=keep, alpha=mix))
    # Convolutions sum in an order that depends on the layout: it stays the weight's.
    return torch.empty_like(weight).copy_(mixed)


def combine(weight: Tensor, mixed: Tensor, coefficients: StepCoefficients,
            fitted: Tensor | float = 1.0) -> Tensor:
    """``W'`` from ``W`` and ``mixed = W W_D``."""
    return ((1 + fitted * (coefficients.identity - 1)) * weight
            - fitted * coefficients.noise_weight * mixed)


def map_inputs(weight: Tensor, matrix: Tensor) -> Tensor:
    """``W[o, :, k] @ matrix[group of o]`` for every output channel o and kernel position k."""
    if weight.dim() == 2:
        return weight @ matrix[0]
    return on_rows(weight, len(matrix), lambda rows: rows @ matrix)


def on_rows(weight: Tensor, groups: int, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A weight whose rows ``W[o, :, k]``, stacked group by group [G, rows, d], are changed."""
    if weight.dim() == 2:
        return change(weight.unsqueeze(0)).squeeze(0)
    channels = weight.shape[1]
    rows = weight.flatten(2).mT.reshape(groups, -1, channels)
    return change(rows).reshape(weight.shape[0], -1, channels).mT.reshape(weight.shape)


def shift_inputs(weight: Tensor, offset: Tensor) -> Tensor:
    """``sum_k W[o, :, k] @ offset[group of o]`` [out]."""
    if weight.dim() == 2:
        return weight @ offset[0]
    groups, channels = offset.shape
    rows = weight.sum((2, 3)).reshape(groups, -1, channels)
    return (rows @ offset.unsqueeze(-1)).flatten()


@torch.no_grad()
def relative_change(before: Tensor, after: Tensor) -> float:
    """``||W' - W|| / ||W||`` of two weights; 0 where ``W`` is."""
    norm = before.norm()
    return ((after - before).norm() / norm).item() if norm else 0.0


def check_finite(name: str, weight: Tensor, bias: Tensor | None) -> None:
    """Refuse non-finite weights.

    Raises:
        FloatingPointError: naming the layer and the remedy.
    """
    if not torch.isfinite(weight).all() or (bias is not None and not torch.isfinite(bias).all()):
        raise FloatingPointError(
            f'{name}: non-finite weights (NaN or infinity) in the layer or its predictor. Nothing '
            f'was changed; start from a sound checkpoint, or lower the predictors\' learning rate.')
