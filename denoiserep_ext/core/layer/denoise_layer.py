"""A Linear or Conv2d that denoises its input: the class and its forward paths."""
from __future__ import annotations

import inspect
import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from .compiling import outside_graph
from .config import DenoiseRepConfig
from .folding import check_finite, fold
from .layer_types import layer_type_of
from .predictor import NoisePredictor
from .schedule import StepCoefficients
from .train_noise import in_backward

Fused = tuple[Tensor, Tensor | None]  # W' and b'


class DenoiseLayer:
    """Mixed into a layer's own type by :func:`attach_`; ``weight`` and ``bias`` stay what they are.

    Paths of the forward, chosen apart for training and evaluation:
        ``plain``: ``y = W x + b``, as if nothing were there;
        ``fused``: ``y = W' x + b'``, the weights folded on the fly and differentiable in ``W``;
        ``explicit``: denoise the features, then apply the layer: the reference of every test.
    """

    # All that attach_ adds to a layer, and detach_ takes away.
    denoiser: NoisePredictor
    denoise_config: DenoiseRepConfig
    denoise_name: str
    step: int
    index: int  # place among the converted layers, part of the seed of its draws
    coefficients: StepCoefficients
    train_path: str
    eval_path: str
    observers: tuple
    observing: bool
    held: Fused | None  # fused weights that evaluation is to use
    added: Fused | None  # W' - W and b' - b as last folded, for training to add instead of folding

    def forward(self, *args: Tensor, **named: Tensor) -> Tensor:
        x = self._input(args, named)
        if self.training and self.observing and self.observers:
            _observe(self, x.detach())
        path = self.train_path if self.training else self.eval_path
        if path == 'explicit':
            return self.apply_weight(self, self.denoise(x), self.weight, self.bias)
        if path == 'plain' or self.step == 0:
            return self.apply_weight(self, x, self.weight, self.bias)
        if not self.training and self.held is not None:
            return self.apply_weight(self, x, *self.held)
        if self.training and self.added is not None:
            return self.apply_weight(self, x, *self._with_added())
        return self.apply_weight(self, x, *self.folded())

    def _input(self, args: tuple[Tensor, ...], named: dict[str, Tensor]) -> Tensor:
        """The only argument of the plain type's forward, by position or by the name it has there."""
        if len(args) + len(named) != 1 or not all(name == self.input_name for name in named):
            raise TypeError(f'{type(self).__name__} takes its input and nothing else: '
                            f'layer(x) or layer({self.input_name}=x).')
        return args[0] if args else named[self.input_name]

    def denoise(self, x: Tensor) -> Tensor:
        """``x_hat`` of the layer's input ``x`` (same shape), computed on the features (eq. of the
        reverse step); fresh noise is added only in training and only if configured."""
        if self.step == 0 or not self.denoiser.fitted:
            return x
        c, fitted = self.coefficients, self.denoiser.fitted
        u = c.scale * x.movedim(self.channel_dim, -1)
        noise = self.denoiser(u.reshape(-1, self.denoiser.groups, self.denoiser.channels))
        x_hat = c.c3 * u - c.c1 * noise.reshape(u.shape)
        # 1 for a fitted predictor; an average of weights (EMA of buffers) may be on its way there.
        # Under autocast the predicted noise may be of a wider type than the features.
        x_hat = torch.lerp((u / c.scale).to(x_hat.dtype), x_hat, fitted.to(x_hat.dtype))
        if self.training and self.denoiser.train_noise is not None:
            x_hat = x_hat + c.c2 * _fresh_noise(self, x_hat)
        return x_hat.movedim(-1, self.channel_dim)

    def folded(self) -> Fused:
        """``(W', b')`` in the layer's precision, differentiable in ``W`` and ``b``; the predictor
        is detached, so the task loss never trains it."""
        # Autocast would round I - C1 W_D to I in half precision; the product stays in the weight's.
        with torch.autocast(self.weight.device.type, enabled=False):
            return fold(self.weight, self.bias, self.denoiser, self.coefficients)

    @torch.no_grad()
    def hold_added_(self) -> None:
        """Fold, and let training add what that adds to weight and bias, however these move on; gradients
        pass straight through to them."""
        weight, bias = self.folded()
        self.added = weight - self.weight, None if bias is None else bias - self.bias

    def _with_added(self) -> Fused:
        weight, bias = self.added
        return self.weight + weight, None if bias is None else self.bias + bias

    @torch.no_grad()
    def fused_tensors(self, weight: Tensor | None = None, bias: Tensor | None = None,
                      denoiser: NoisePredictor | None = None) -> Fused:
        """``(W', b')`` computed in float64 and cast once, from this layer's own tensors or from
        others of the same shapes (an EMA copy's, say). Nothing is changed."""
        if weight is None:
            weight, bias, denoiser = self.weight.detach(), self.bias, self.denoiser
        if self.step == 0 or not denoiser.fitted:
            return weight, bias
        fused, shifted = fold(weight.double(), None if bias is None else bias.double(), denoiser,
                              self.coefficients)
        return fused.to(weight.dtype), None if bias is None else shifted.to(bias.dtype)

    def checked_tensors(self, name: str, *source, fused: Fused | None = None) -> Fused:
        """:meth:`fused_tensors`, if they can be written into the layer and are finite.

        Args:
            name: The layer's name, for messages.
            *source: See :meth:`fused_tensors`.
            fused: ``(W', b')`` where they have been computed otherwise.

        Raises:
            ValueError: if the layer was changed after the conversion so that they cannot.
            FloatingPointError: if they are not finite.
        """
        self.require_own_parameters(name)
        if self.bias is None and self.denoiser.bias is not None:
            raise ValueError(f'{name}: its bias was taken away after the conversion, but its predictor '
                             f'has one that must be folded into it. Put a bias back (zeros will do), '
                             f'or convert the layer without one.')
        weight, bias = self.fused_tensors(*source) if fused is None else fused
        check_finite(name, weight, bias)
        return weight, None if bias is None else bias.detach()

    def require_own_parameters(self, name: str) -> None:
        """Refuse a layer whose weight or bias was replaced after the conversion by something computed.

        Raises:
            ValueError: naming the layer and the remedy.
        """
        for what in ('weight', 'bias'):
            if what not in self._parameters and getattr(self, what) is not None:
                raise ValueError(
                    f'{name}: its {what} is no parameter any more (parametrised, pruned or spectrally '
                    f'normalised after the conversion), so nothing can be folded into it or restored. '
                    f'Undo that first: torch.nn.utils.parametrize.remove_parametrizations, '
                    f'torch.nn.utils.prune.remove or torch.nn.utils.remove_spectral_norm.')

    def fuse(self, fused: Fused | None = None) -> nn.Module:
        """Write ``W'`` and ``b'`` into the layer, take the predictor away, return the plain layer.

        Args:
            fused: Them, where they have been computed otherwise.

        Raises:
            ValueError, FloatingPointError: see :meth:`checked_tensors`; the layer is then unchanged.
        """
        return self.detach_(*self.checked_tensors(self.denoise_name, fused=fused))

    @torch.no_grad()
    def detach_(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        """Give the layer its plain type back, with the given weight and bias written into its own
        parameters (the same objects: optimisers and DDP keep pointing at them)."""
        self.weight.copy_(weight)
        if self.bias is not None:
            self.bias.copy_(bias)
        for name in DenoiseLayer.__annotations__:
            delattr(self, name)
        self.__class__ = self.plain_type
        return self

    def feature_vectors(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """The layer's input ``x`` as channel vectors [n, G, d], all of them or the given rows."""
        x = torch.atleast_2d(x.movedim(self.channel_dim, -1))
        shape = (-1, self.denoiser.groups, self.denoiser.channels)
        if rows is None:
            return x.reshape(shape)
        # Indexing each dimension reads the drawn rows only; flattening an NCHW tensor copies it all.
        return x[torch.unravel_index(rows, x.shape[:-1])].reshape(shape)

    def count_vectors(self, x: Tensor) -> int:
        """Number of channel vectors in ``x``."""
        return x.numel() // (self.denoiser.groups * self.denoiser.channels)

    def _load_from_state_dict(self, state_dict, prefix: str, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if f'{prefix}weight' in state_dict and not any(
                key.startswith(f'{prefix}denoiser.') for key in state_dict) and self.denoiser.fitted:
            self.denoiser.reset_()
            warnings.warn(
                'Weights without predictors were loaded into a converted model whose predictors were '
                'fitted. Fused weights would be denoised twice, and other weights need other '
                'predictors, so the predictors were reset: the model now computes what a plain model '
                'with these weights does. Fit it again, or load a state dict that holds predictors.',
                stacklevel=2)

    def __reduce_ex__(self, protocol: int) -> Any:
        # Classes made on the fly cannot be pickled by reference: name the type they were made from.
        return _rebuild, (self.plain_type,), super().__reduce_ex__(protocol)[2]


def _rebuild(plain_type: type) -> nn.Module:
    cls = denoise_class(plain_type)
    return cls.__new__(cls)


@cache
def denoise_class(plain_type: type) -> type:
    """The denoising subclass of a layer's own type (one per type)."""
    layer_type = layer_type_of(plain_type)
    input_name = list(inspect.signature(plain_type.forward).parameters)[1]
    return type(f'Denoise{plain_type.__name__}', (DenoiseLayer, plain_type),
                {'__module__': __name__, '__doc__': DenoiseLayer.__doc__, 'plain_type': plain_type,
                 'input_name': input_name, 'channel_dim': layer_type.channel_dim,
                 'apply_weight': staticmethod(layer_type.apply)})


@outside_graph
def _observe(layer: DenoiseLayer, features: Tensor) -> None:
    if not in_backward():
        for observer in layer.observers:
            observer(layer, features)


@outside_graph
def _fresh_noise(layer: DenoiseLayer, like: Tensor) -> Tensor:
    return layer.denoiser.train_noise(layer, like)
