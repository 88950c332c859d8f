"""Training the predictors by gradient descent on the denoising loss (the paper's way)."""
from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..layer.layers import denoise_layers, require_denoise_layers
from ..layer.loss import loss_observers
from ..processes import several_processes


def denoise_loss(model: nn.Module) -> Tensor:
    """Sum over layers of the denoising loss of the last training-mode forward (method of the
    paper, eq. of L_p), collected and cleared.

    Its gradient reaches the predictors and nothing else. Add it to your loss with a weight (the
    authors: 0.01 for classification, 0.1 for re-identification).

    Returns:
        A scalar; with ``train()`` mode off during the forward there is nothing to collect.

    Raises:
        ValueError: if nothing is converted with ``solver='sgd'``, or no forward was run since the
            last call.
    """
    require_denoise_layers(model)
    losses = [loss for o in loss_observers(model) if (loss := o.collect()) is not None]
    if not losses:
        raise ValueError(
            "No denoising loss was recorded: run a forward in train() mode first, on a model "
            "converted with DenoiseRepConfig(solver='sgd') (one-pass predictors are solved by "
            "fit_one_pass_, not trained).")
    return torch.stack(losses).sum()


def predictor_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The predictors' parameters, layer by layer (empty for one-pass predictors)."""
    return [p for _, layer in denoise_layers(model) for p in layer.denoiser.parameters()]


class PredictorSGD:
    """Trains the predictors beside a host that knows nothing of them.

    Their loss depends on nothing of the host's and the host's on nothing of theirs, so they get an
    optimiser of their own: the host's parameter groups, schedulers, gradient scaler, accumulation
    and DDP wrapper stay as they are. Gradients are averaged over processes here.

    Args:
        model: A converted model with trainable predictors.
        optimizer: ``parameters -> Optimizer``.
        weight: Weight of the summed loss. Adam-like optimisers do not feel it.
    """

    def __init__(self, model: nn.Module,
                 optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
                 weight: float = 1.0) -> None:
        self.model, self.weight = model, weight
        self.parameters = predictor_parameters(model)
        if not self.parameters:
            raise ValueError("There are no trainable predictors: convert with solver='sgd'.")
        self.optimizer = optimizer(self.parameters)

    def step(self) -> float:
        """One step on the loss of the last forward.

        Returns:
            The mean denoising loss per layer.

        Raises:
            FloatingPointError: if the loss is not finite; the predictors are then unchanged.
        """
        loss = denoise_loss(self.model)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                'The denoising loss is not finite: the features hold NaN or infinity, or the '
                'predictors\' learning rate is too high.')
        (self.weight * loss).backward()
        if several_processes():
            for parameter in self.parameters:
                dist.all_reduce(parameter.grad)
                parameter.grad /= dist.get_world_size()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item() / sum(1 for _ in denoise_layers(self.model))
