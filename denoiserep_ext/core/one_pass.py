"""The predictors' optimum in closed form, from the moments of one pass."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .layers import DenoiseLayer, require_denoise_layers
from .moments import Moments
from .observers import LossObserver, MomentObserver


def solve(layer: DenoiseLayer, moments: Moments) -> tuple[Tensor, Tensor | None]:
    """``(W_D [G, d, d], b_D [G, d])`` minimising E|eps - W_D x_t - b_D|^2, float64.

    ``S = abar C + (1 - abar) N``, ``W_D = sqrt(1 - abar) N S^-1``,
    ``b_D = -sqrt(abar) W_D E[x]``, with ``C`` the covariance (or E[x x^T] without bias) and
    ``N = I`` for ``unit`` noise, ``(trace C / d) I`` for ``relative``.

    Raises:
        FloatingPointError: if the moments are not finite.
    """
    return _solve(layer, _System(layer, moments))


def _solve(layer: DenoiseLayer, system: _System) -> tuple[Tensor, Tensor | None]:
    if not layer.step:
        return torch.zeros_like(system.clean), torch.zeros_like(system.mean)
    weight = system.noise_share**0.5 * system.power * system.inverse()
    # A layer that never saw a non-zero feature has nothing to denoise.
    weight = torch.where(system.power > 0, weight, torch.zeros_like(weight))
    offset = None
    if system.centred:
        offset = -system.alpha_bar**0.5 * (weight @ system.mean.unsqueeze(-1)).squeeze(-1)
    return weight, offset


def solve_(layer: DenoiseLayer, moments: Moments) -> None:
    """Write the optimum into the layer's predictor (zero at step 0, where nothing is removed)."""
    layer.denoiser.set_(*solve(layer, moments))


def loss_floor(layer: DenoiseLayer, moments: Moments) -> float:
    """The least L2 denoising loss any linear predictor can reach on these features, in [0, 1]:
    ``1 - (1 - abar) p trace(S^-1) / d`` with noise power ``p``, mean over groups."""
    if not layer.step:
        return 1.0  # no noise was mixed in, so none of it can be predicted
    system = _System(layer, moments)
    return _floor(system, _solve(layer, system)[0])


def _floor(system: _System, weight: Tensor) -> float:
    # The optimal W_D is sqrt(1 - abar) p S^-1, so its trace is all that is needed.
    trace = weight.diagonal(dim1=-2, dim2=-1).mean(-1)
    return (1 - system.noise_share**0.5 * trace).mean().item()


@torch.no_grad()
def expected_loss(layer: DenoiseLayer, moments: Moments) -> float:
    """The L2 denoising loss of the layer's present predictor on these features, exactly (no noise
    is drawn): it equals :func:`loss_floor` right after solving."""
    return _expected_loss(layer, _System(layer, moments))


def _expected_loss(layer: DenoiseLayer, system: _System,
                   dtype: torch.dtype = torch.float64) -> float:
    predictor = layer.denoiser
    matrix = predictor.matrix().double()
    mean, noisy = system.mean, system.alpha_bar * system.second + system.noise_share * system.noise
    cross = system.power.flatten() * matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
    error = (system.power.flatten() * system.channels - 2 * system.noise_share**0.5 * cross
             + ((matrix.to(dtype) @ noisy.to(dtype)) * matrix).sum((1, 2)))
    if predictor.bias is not None:
        offset = predictor.bias.double()
        drift = (matrix @ mean.unsqueeze(-1)).squeeze(-1)
        error = error + (2 * system.alpha_bar**0.5 * offset * drift + offset.square()).sum(-1)
    power = system.power.flatten()
    return torch.where(power > 0, error / (power * system.channels), 1.0).mean().item()


class _System:
    """The matrices of one layer's least-squares problem."""

    def __init__(self, layer: DenoiseLayer, moments: Moments) -> None:
        self.alpha_bar = layer.coefficients.alpha_bar
        self.noise_share = 1 - self.alpha_bar
        self.centred = layer.denoiser.bias is not None
        self.channels = layer.denoiser.channels
        self.mean = moments.mean
        self.clean = moments.second_moment(self.centred)
        self.second = moments.second_moment(False) if self.centred else self.clean
        if not torch.isfinite(self.clean).all():
            raise FloatingPointError(
                f'{layer.denoise_name}: its input had non-finite '
                f'values (NaN or infinity), so nothing can be solved. Check the model and images.')
        power = torch.ones_like(self.mean[:, :1])
        if layer.denoise_config.noise == 'relative':
            power = self.clean.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
        self.power = power.unsqueeze(-1)
        self.identity = torch.eye(self.channels, dtype=self.mean.dtype, device=self.mean.device)
        self.noise = self.power * self.identity

    def inverse(self) -> Tensor:
        """``S^-1``. S is at least ``(1 - abar) p I``, so fewer samples than channels or dead
        channels are no trouble; where rounding of huge features hides that bound, it is restored
        eigenvalue by eigenvalue."""
        system = self.alpha_bar * self.clean + self.noise_share * self.noise
        system = torch.where(self.power <= 0, self.identity, system)
        factor, failed = torch.linalg.cholesky_ex(system)
        if not failed.any():
            return torch.cholesky_inverse(factor)
        values, vectors = torch.linalg.eigh(system)
        least = (self.noise_share * self.power).squeeze(-1)
        return (vectors / values.maximum(least).unsqueeze(-2)) @ vectors.mT


@contextmanager
def observing(model: nn.Module, tokens: int | None = None):
    """Within the context every forward of ``model`` adds to the moments it yields, name by name;
    the model runs as in evaluation, on its plain features."""
    layers = require_denoise_layers(model)
    modes = [(module, module.training) for module in model.modules()]
    before = [(layer.observers, layer.train_path) for _, layer in layers]
    observers = {name: MomentObserver(layer, tokens) for name, layer in layers}
    try:
        model.eval()
        for name, layer in layers:
            layer.training = True  # observe; a Linear or Conv2d computes the same in both modes
            layer.observers, layer.train_path = (observers[name],), 'plain'
        yield {name: observer.moments for name, observer in observers.items()}
    finally:
        for (_, layer), (kept, path) in zip(layers, before):
            layer.observers, layer.train_path = kept, path
        for module, training in modes:
            module.training = training


@torch.no_grad()
def fit_one_pass_(model: nn.Module, batches: Iterable[Any], tokens: int | None = None,
                  forward: Callable[[nn.Module, Any], Any] | None = None) -> dict[str, float]:
    """Fit every predictor in one label-free forward pass, in place.

    The model's weights, mode and BatchNorm statistics stay as they were.

    Args:
        model: A converted model.
        batches: Inputs; a tuple or list counts as ``(input, ...)`` and its rest (labels) is ignored.
            Wrap it in a progress bar of your choice.
        tokens: Feature vectors drawn per layer and batch; None uses all.
        forward: How to run one batch, ``forward(model, batch)``; by default the input is moved to
            the model's device and the model is called with it.

    Returns:
        The denoising loss each layer now has, by name, equal to its floor.

    Raises:
        ValueError: if nothing is converted, a predictor is low-rank, or there are no batches.
        FloatingPointError: naming a layer whose features were not finite; nothing is changed then.
    """
    layers = require_denoise_layers(model)
    for name, layer in layers:
        if layer.denoiser.rank is not None:
            raise ValueError(f'{name}: a low-rank predictor is trained, not solved; convert with '
                             f'rank=None.')
    with observing(model, tokens) as moments:
        for batch in batches:
            (forward or _call)(model, batch)
    reduced = {name: moments[name].reduced() for name, _ in layers}
    unseen = [name for name, _ in layers if reduced[name].reference is None]
    if unseen:
        raise ValueError(
            f'No features reached {", ".join(unseen[:3])}{" ..." if len(unseen) > 3 else ""}: there '
            f'were no batches, or the model does not use these layers (leave them out).')
    systems = {name: _System(layer, reduced[name]) for name, layer in layers}
    solutions = {name: _solve(layer, systems[name]) for name, layer in layers}
    for name, layer in layers:
        layer.denoiser.set_(*solutions[name])
    return {name: _floor(systems[name], solutions[name][0]) if layer.step else 1.0
            for name, layer in layers}


class RunningMoments:
    """Moments kept up during training, and the predictors solved from them now and then.

    Args:
        model: A converted model; its layers start to observe.
        tokens: Feature vectors drawn per layer and step; None uses all.
        decay: How much the past counts after each solving (0..1), so that the moments follow the
            moving features.
    """

    def __init__(self, model: nn.Module, tokens: int | None = 256, decay: float = 0.9) -> None:
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f'decay must lie in [0, 1], got {decay!r}.')
        self.layers, self.decay = dict(require_denoise_layers(model)), decay
        self.observers = {name: MomentObserver(layer, tokens, torch.float32)
                          for name, layer in self.layers.items()}
        for name, layer in self.layers.items():
            for observer in layer.observers:
                if isinstance(observer, LossObserver):
                    observer.moments = self.observers[name].moments
            layer.observers = (self.observers[name], *layer.observers)

    @torch.no_grad()
    def refresh(self, solve: bool) -> dict[str, dict[str, float]]:
        """Sum the moments over processes, solve the predictors from them if asked, let the past
        fade.

        Returns:
            ``loss``: the expected denoising loss before solving, ``floor``: the least possible
            one, each by layer name.
        """
        figures: dict[str, dict[str, float]] = {'loss': {}, 'floor': {}}
        for name, layer in self.layers.items():
            moments = self.observers[name].moments
            total = moments.reduced()
            system = _System(layer, total)
            # The one product of full size beside the solution; for a log, float32 will do.
            figures['loss'][name] = _expected_loss(layer, system, torch.float32)
            solution = _solve(layer, system)
            figures['floor'][name] = _floor(system, solution[0]) if layer.step else 1.0
            if solve:
                layer.denoiser.set_(*solution)
            moments.decay_(self.decay)
        return figures

    def share_(self) -> None:
        """Give every process the same share of the sum, so that the state of any of them stands
        for all. Nothing to do in a single process."""
        if not (dist.is_initialized() and dist.get_world_size() > 1):
            return
        for observer in self.observers.values():
            total = observer.moments.reduced().decay_(1 / dist.get_world_size())
            observer.moments.load_state_dict(total.state_dict())

    def reset_(self) -> None:
        """Forget all features."""
        for observer in self.observers.values():
            observer.moments.reset_()

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, by layer name."""
        return {name: {'calls': o.calls, **o.moments.state_dict()}
                for name, o in self.observers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`state_dict`.

        Raises:
            ValueError: if it is of another selection of layers or another model.
        """
        if state.keys() != self.observers.keys():
            odd = sorted(state.keys() ^ self.observers.keys())
            raise ValueError(f'The saved moments belong to another selection of layers: {odd[:3]}.')
        for name, observer in self.observers.items():
            observer.calls = state[name]['calls']
            observer.moments.load_state_dict(state[name])


def _call(model: nn.Module, batch: Any) -> Any:
    x = batch[0] if isinstance(batch, (tuple, list)) else batch
    device = next(model.parameters()).device
    return model(x.to(device))
