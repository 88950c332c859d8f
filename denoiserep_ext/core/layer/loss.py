"""The denoising loss of a layer (paper, L_p), recorded in its forward."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .compiling import outside_graph
from .denoise_layer import DenoiseLayer
from .layers import denoise_layers
from .sampling import draw, seeded
from .train_noise import in_backward


class FeaturePower(Protocol):
    """Moments of a layer's input, as far as the loss asks for them."""

    count: float

    def power(self, centred: bool) -> Tensor:
        """Mean feature power per group [G]."""


class LossObserver:
    """Draws noise for a layer's input and keeps the denoising loss until it is collected.

    The graph reaches from the loss to the predictor alone, whatever the host's gradient mode is.
    Modules called several times per forward contribute the mean over their calls.

    Args:
        layer: The layer it will observe.
        moments: Where the ``relative`` noise power is taken from; the features of the call itself
            serve while it is empty or None.
    """

    def __init__(self, layer: DenoiseLayer, moments: FeaturePower | None = None) -> None:
        self.moments, self.calls = moments, 0
        self.pending: list[Tensor] = []
        self._filled = 0  # how many of them are of inputs that were not empty

    def __call__(self, layer: DenoiseLayer, x: Tensor) -> None:
        # Active from the first loss on, and before this forward uses the predictor: a forward
        # repeated by activation checkpointing must find the same state.
        layer.denoiser.activate_()
        self.calls += 1
        self._filled += x.numel() > 0
        # Activation checkpointing counts every tensor saved for backward on its way; this graph is
        # none of its business, so it must save its tensors past the hooks in force.
        with torch.enable_grad(), torch.autocast(x.device.type, enabled=False), \
                torch.autograd.graph.saved_tensors_hooks(_same, _same):
            self.pending.append(self._loss(layer, x))

    def _loss(self, layer: DenoiseLayer, x: Tensor) -> Tensor:
        config, alpha_bar = layer.denoise_config, layer.coefficients.alpha_bar
        x = draw(layer, x, config.loss_tokens, 'loss', self.calls).to(layer.denoiser.fitted.dtype)
        scale = self._power(layer, x).sqrt() if config.noise == 'relative' else 1.0
        noise = scale * torch.randn(x.shape, dtype=x.dtype, device=x.device,
                                    generator=seeded(layer, 'eps', self.calls, x.device))
        noisy = alpha_bar**0.5 * x + (1 - alpha_bar)**0.5 * noise
        # Per unit of noise power, so that layers count alike under relative noise.
        error = (noise - layer.denoiser(noisy)) / scale
        # An empty input (no regions) has a loss of 0 that still reaches the predictor.
        mean = torch.mean if error.numel() else torch.sum
        loss = mean(error.square())
        return loss + mean(error.abs()) if config.loss == 'l1+l2' else loss

    def _power(self, layer: DenoiseLayer, x: Tensor) -> Tensor:
        """Mean feature power per group [G, 1], the noise's variance."""
        centred = layer.denoiser.bias is not None
        if self.moments is not None and self.moments.count > 0:
            power = self.moments.power(centred).to(x.dtype)
        else:
            power = (x - x.mean(0) if centred else x).square().mean((0, 2))
        return power.clamp_min(torch.finfo(x.dtype).tiny).unsqueeze(-1)

    def collect(self) -> Tensor | None:
        """Mean loss of the calls since the last collection, and forget them. Calls with an empty input
        do not count."""
        pending, filled = list(self.pending), max(1, self._filled)
        self.forget()
        return torch.stack(pending).sum() / filled if pending else None

    def forget(self) -> None:
        """Drop what was not collected."""
        self.pending.clear()
        self._filled = 0

    def __getstate__(self) -> dict[str, Any]:
        # Losses not collected belong to a graph, which can be neither copied nor pickled.
        return {**vars(self), 'pending': [], '_filled': 0}


def track_loss_(model: nn.Module) -> None:
    """Let every converted layer record its denoising loss in training-mode forwards.

    A forward of ``model`` drops whatever the one before left uncollected, so nothing accumulates
    if nobody collects.
    """
    for _, layer in denoise_layers(model):
        layer.observers = (*layer.observers, LossObserver(layer))
    model.register_forward_pre_hook(_drop_uncollected)


def untrack_loss_(model: nn.Module) -> None:
    """Take away what :func:`track_loss_` registered on the model or a part of it."""
    for module in model.modules():
        for key, hook in list(module._forward_pre_hooks.items()):
            if hook is _drop_uncollected:
                del module._forward_pre_hooks[key]


def loss_observers(model: nn.Module) -> Iterator[LossObserver]:
    """Every loss observer of the model's layers."""
    for _, layer in denoise_layers(model):
        yield from (o for o in layer.observers if isinstance(o, LossObserver))


def _drop_uncollected(model: nn.Module, _args) -> None:
    # In evaluation nothing is recorded: stay in a compiled graph, and put it as a compiler likes it.
    for module in model.modules():
        if isinstance(module, DenoiseLayer) and module.training:
            _forget(model)
            break


@outside_graph
def _forget(model: nn.Module) -> None:
    if not in_backward():
        for observer in loss_observers(model):
            observer.forget()


def _same(tensor: Tensor) -> Tensor:
    return tensor
