"""A Linear or Conv2d that denoises its input: class, forward paths and fusion arithmetic."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from .config import DenoiseRepConfig
from .layer_types import LayerType, layer_type_of, offset_allowed
from .predictor import NoisePredictor
from .sampling import seeded
from .schedule import StepCoefficients


class DenoiseLayer:
    """Mixed into a layer's own type by :func:`attach_`; ``weight`` and ``bias`` stay what they are.

    Paths of the forward, chosen apart for training and evaluation:
        ``plain``: ``y = W x + b``, as if nothing were there;
        ``fused``: ``y = W' x + b'``, the weights folded on the fly and differentiable in ``W``;
        ``explicit``: denoise the features, then apply the layer: the reference of every test.
    """

    denoiser: NoisePredictor
    denoise_config: DenoiseRepConfig
    coefficients: StepCoefficients
    step: int

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.observing and self.observers and not _in_backward():
            features = x.detach()
            for observer in self.observers:
                observer(self, features)
        path = self.train_path if self.training else self.eval_path
        if path == 'explicit':
            return self._layer_type.apply(self, self.denoise(x), self.weight, self.bias)
        if path == 'plain' or self.step == 0:
            return self._layer_type.apply(self, x, self.weight, self.bias)
        if not self.training and self.held is not None:
            return self._layer_type.apply(self, x, *self.held)
        return self._layer_type.apply(self, x, *self.folded())

    def denoise(self, x: Tensor) -> Tensor:
        """``x_hat`` of the layer's input ``x`` (same shape), computed on the features (eq. of the
        reverse step); fresh noise is added only in training and only if configured."""
        if self.step == 0 or not self.denoiser.fitted:
            return x
        c, fitted = self.coefficients, self.denoiser.fitted
        channel_dim = self._layer_type.channel_dim
        u = c.scale * x.movedim(channel_dim, -1)
        noise = self.denoiser(u.reshape(-1, self.denoiser.groups, self.denoiser.channels))
        x_hat = c.c3 * u - c.c1 * noise.reshape(u.shape)
        # 1 for a fitted predictor; an average of weights (EMA of buffers) may be on its way there.
        x_hat = torch.lerp(u / c.scale, x_hat, fitted.to(x_hat.dtype))
        if self.training and self.denoise_config.train_noise:
            x_hat = x_hat + c.c2 * self._fresh_noise(x_hat)
        return x_hat.movedim(-1, channel_dim)

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """``(W', b')`` in the layer's precision, differentiable in ``W`` and ``b``; the predictor
        is detached, so the task loss never trains it."""
        c, denoiser = self.coefficients, self.denoiser
        fitted = denoiser.fitted
        # Autocast would round I - C1 W_D to I in half precision; the product stays in the weight's.
        with torch.autocast(self.weight.device.type, enabled=False):
            mixed = self._mix(self.weight, denoiser.matrix().detach())
            weight = (1 + fitted * (c.identity - 1)) * self.weight - fitted * c.noise_weight * mixed
            if self.bias is None or denoiser.bias is None:
                return weight, self.bias
            return weight, self.bias - fitted * c.c1 * self._shift(self.weight, denoiser.bias.detach())

    @torch.no_grad()
    def fused_tensors(self, weight: Tensor | None = None, bias: Tensor | None = None,
                      denoiser: NoisePredictor | None = None) -> tuple[Tensor, Tensor | None]:
        """``(W', b')`` computed in float64 and cast once, from this layer's own tensors or from
        others of the same shapes (an EMA copy's, say). Nothing is changed."""
        if weight is None:
            weight, bias, denoiser = self.weight.detach(), self.bias, self.denoiser
        if self.step == 0 or not denoiser.fitted:
            return weight, bias
        c, wide, fitted = self.coefficients, weight.double(), denoiser.fitted.double()
        mixed = self._mix(wide, denoiser.matrix().double())
        fused = (1 + fitted * (c.identity - 1)) * wide - fitted * c.noise_weight * mixed
        if bias is not None and denoiser.bias is not None:
            shift = self._shift(wide, denoiser.bias.double())
            bias = (bias.double() - fitted * c.c1 * shift).to(bias.dtype)
        return fused.to(weight.dtype), bias

    def fuse(self) -> nn.Module:
        """Write ``W'`` and ``b'`` into the layer, take the predictor away, return the plain layer.

        Raises:
            FloatingPointError: if the result is not finite; the layer is then unchanged.
        """
        weight, bias = self.fused_tensors()
        check_finite(self.denoise_name, weight, bias)
        return detach_(self, weight, bias)

    def feature_vectors(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """The layer's input ``x`` as channel vectors [n, G, d], all of them or the given rows."""
        x = torch.atleast_2d(x.movedim(self._layer_type.channel_dim, -1))
        shape = (-1, self.denoiser.groups, self.denoiser.channels)
        if rows is None:
            return x.reshape(shape)
        # Indexing each dimension reads the drawn rows only; flattening an NCHW tensor copies it all.
        return x[torch.unravel_index(rows, x.shape[:-1])].reshape(shape)

    def count_vectors(self, x: Tensor) -> int:
        """Number of channel vectors in ``x``."""
        return x.numel() // (self.denoiser.groups * self.denoiser.channels)

    def _mix(self, weight: Tensor, matrix: Tensor) -> Tensor:
        """``W[o, :, k] @ matrix[group of o]`` for every output channel o and kernel position k."""
        if not self._layer_type.spatial:
            return weight @ matrix[0]
        groups, channels, _ = matrix.shape
        rows = weight.flatten(2).mT.reshape(groups, -1, channels)
        kernel = weight.shape[2] * weight.shape[3]
        return (rows @ matrix).reshape(weight.shape[0], kernel, channels).mT.reshape(weight.shape)

    def _shift(self, weight: Tensor, offset: Tensor) -> Tensor:
        """``sum_k W[o, :, k] @ offset[group of o]`` [out]."""
        if not self._layer_type.spatial:
            return weight @ offset[0]
        groups = offset.shape[0]
        rows = weight.sum((2, 3)).reshape(groups, -1, weight.shape[1])
        return (rows @ offset.unsqueeze(-1)).flatten()

    def _fresh_noise(self, like: Tensor) -> Tensor:
        self.noise_calls += 1
        return torch.randn(like.shape, dtype=like.dtype, device=like.device,
                           generator=seeded(self, 'z', self.noise_calls, like.device))

    def __reduce_ex__(self, protocol: int) -> Any:
        # Classes made on the fly cannot be pickled by reference: name the type they were made from.
        return _rebuild, (self.plain_type,), self.__getstate__()


def _rebuild(plain_type: type) -> nn.Module:
    cls = denoise_class(plain_type)
    return cls.__new__(cls)


@cache
def denoise_class(plain_type: type) -> type:
    """The denoising subclass of a layer's own type (one per type)."""
    return type(f'Denoise{plain_type.__name__}', (DenoiseLayer, plain_type),
                {'__module__': __name__, '__doc__': DenoiseLayer.__doc__, 'plain_type': plain_type,
                 '_layer_type': layer_type_of(plain_type)})


def attach_(layer: nn.Module, config: DenoiseRepConfig, step: int, index: int,
            name: str) -> nn.Module:
    """Turn a plain layer into a denoising one, in place: same object, same parameters.

    Args:
        layer: A layer whose type :func:`layer_type_of` knows.
        config: Settings.
        step: Its step, 0..T.
        index: Its place among the converted layers, part of the seed of its draws.
        name: Its name, for messages.
    """
    layer_type: LayerType = layer_type_of(type(layer))
    weight = layer.weight
    groups = layer.groups if layer_type.spatial else 1
    layer.__class__ = denoise_class(type(layer))
    layer.denoiser = NoisePredictor(
        groups, weight.shape[1], bias=offset_allowed(layer, layer_type), rank=config.rank,
        trainable=config.solver == 'sgd', device=weight.device, dtype=weight.dtype)
    layer.denoise_config, layer.denoise_name = config, name
    layer.step, layer.index = step, index
    layer.coefficients = config.coefficients(step)
    layer.train_path = 'explicit' if config.train_noise else 'fused'
    layer.eval_path = 'fused'
    layer.observers, layer.observing = (), True
    layer.held, layer.noise_calls = None, 0
    return layer


_ATTACHED = ('denoise_config', 'denoise_name', 'step', 'index', 'coefficients', 'train_path',
             'eval_path', 'observers', 'observing', 'held', 'noise_calls')


def detach_(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Give a denoising layer its plain type back, with the given weight and bias written into its
    own parameters (the same objects: optimisers and DDP keep pointing at them)."""
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
    for name in ('denoiser', *_ATTACHED):
        delattr(layer, name)
    layer.__class__ = layer.plain_type
    return layer


def check_finite(name: str, weight: Tensor, bias: Tensor | None) -> None:
    """Refuse non-finite weights.

    Raises:
        FloatingPointError: naming the layer and the remedy.
    """
    if not torch.isfinite(weight).all() or (bias is not None and not torch.isfinite(bias).all()):
        raise FloatingPointError(
            f'{name}: non-finite weights (NaN or infinity) in the layer or its predictor. Nothing '
            f'was changed; start from a sound checkpoint, or lower the predictors\' learning rate.')


def denoise_layers(model: nn.Module) -> Iterator[tuple[str, DenoiseLayer]]:
    """Names and converted layers of a model, in definition order."""
    for name, module in model.named_modules():
        if isinstance(module, DenoiseLayer):
            yield name, module


def denoise_aliases(model: nn.Module) -> dict[str, list[str]]:
    """All names of every converted layer by its first one. A state dict lists a module that several
    parents share (the branches of a detection head, say) once under each."""
    first = {id(layer): name for name, layer in denoise_layers(model)}
    aliases: dict[str, list[str]] = {name: [] for name in first.values()}
    for name, module in model.named_modules(remove_duplicate=False):
        if id(module) in first:
            aliases[first[id(module)]].append(name)
    return aliases


def require_denoise_layers(model: nn.Module) -> list[tuple[str, DenoiseLayer]]:
    """Like :func:`denoise_layers`, as a list that is not empty.

    Raises:
        ValueError: if the model has no converted layer.
    """
    layers = list(denoise_layers(model))
    if not layers:
        raise ValueError(
            f'{type(model).__name__} has no denoising layers: call convert_ on it first (a fused '
            f'model has none either).')
    return layers


@contextmanager
def explicit_path(model: nn.Module) -> Iterator[None]:
    """Within the context, converted layers denoise their features and then apply themselves, the
    unfused reference path."""
    layers = require_denoise_layers(model)
    before = [(layer.train_path, layer.eval_path) for _, layer in layers]
    try:
        for _, layer in layers:
            layer.train_path = layer.eval_path = 'explicit'
        yield
    finally:
        for (_, layer), paths in zip(layers, before):
            layer.train_path, layer.eval_path = paths


def _in_backward() -> bool:
    """Whether this forward is activation checkpointing's second one, inside the backward pass."""
    return torch._C._current_graph_task_id() != -1
