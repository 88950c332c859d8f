"""Fitted weights into a layer, and trained ones back."""
from __future__ import annotations

import torch
from torch import Tensor

from ..layer.folding import check_finite, map_inputs, relative_change, shift_inputs
from .collecting import Place
from .regression import Fit


class Trained:
    """The trained values of the tensors that a walk changes, to come back to."""

    def __init__(self) -> None:
        self._values: dict[Tensor, Tensor] = {}

    def remember(self, tensors: list[Tensor]) -> None:
        """Note values that are not noted yet."""
        for tensor in tensors:
            if tensor not in self._values:
                self._values[tensor] = tensor.detach().clone()

    @torch.no_grad()
    def halve_(self, tensors: list[Tensor]) -> None:
        """Go half of the way back."""
        for tensor in tensors:
            tensor.copy_(torch.lerp(tensor.double(), self._values[tensor].double(), 0.5))

    @torch.no_grad()
    def restore_(self, tensors: list[Tensor] | None = None) -> None:
        """Write noted values back, of some tensors or of all."""
        for tensor in self._values if tensors is None else tensors:
            tensor.copy_(self._values[tensor])


def changed_tensors(place: Place) -> list[Tensor]:
    """The tensors that :func:`write_` changes."""
    tensors = [place.layer.weight]
    if place.layer.bias is not None:
        tensors.append(place.layer.bias)
    elif place.exit.norm is not None:
        tensors.append(place.exit.norm.running_mean)
    return tensors


def bias_place(place: Place) -> str | None:
    """Where a shift of the layer's output can go."""
    if place.layer.bias is not None:
        return 'bias'
    return None if place.exit.norm is None else 'norm'


@torch.no_grad()
def write_(place: Place, fit: Fit, damping: float) -> float:
    """Put a fit into its layer, in place. Computed in float64 and cast once.

    Args:
        place: The layer.
        fit: Its solution.
        damping: Share of it that is taken.

    Returns:
        ``||W' - W|| / ||W||``.

    Raises:
        FloatingPointError: if the result is not finite; nothing is changed then.
    """
    layer, wide = place.layer, place.layer.weight.double()
    step, shift = damping * fit.step, None if fit.shift is None else damping * fit.shift
    if place.positions.pointwise:
        change = map_inputs(wide, step)
        shift = None if shift is None else shift_inputs(wide, shift)
    else:
        change = step.reshape(wide.shape)
        shift = None if shift is None else shift.flatten()
        if place.skip:
            change, shift = _unscaled(place.exit.scale.double(), change, shift)
    weight = (wide + change).to(layer.weight.dtype)
    bias, mean = layer.bias, None
    if shift is not None and bias is not None:
        bias = (bias.double() + shift).to(bias.dtype)
    elif shift is not None:
        mean = place.exit.norm.running_mean
        mean = (mean.double() - shift).to(mean.dtype)
    check_finite(place.name, weight, mean if bias is None else bias)
    size = relative_change(layer.weight, weight)
    layer.weight.copy_(weight)
    if mean is not None:
        place.exit.norm.running_mean.copy_(mean)
    elif layer.bias is not None:
        layer.bias.copy_(bias)
    return size


def _unscaled(scale: Tensor, change: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A change of the sum as one of the layer. Channels that do not reach the sum stay as they are."""
    reaching = scale.abs() > 1e-6 * scale.abs().max()
    factor = torch.where(reaching, 1 / torch.where(reaching, scale, 1.0), 0.0)
    change = change * factor.view(-1, *[1] * (change.dim() - 1))
    return change, None if shift is None else shift * factor
