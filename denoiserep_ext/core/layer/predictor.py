"""The linear noise predictor of one layer."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from .train_noise import TrainNoise


class NoisePredictor(nn.Module):
    """``eps_hat(x) = W_D x + b_D`` on the channels of a layer's input, one block per group.

    Holds parameters when ``trainable`` and buffers otherwise, so that an optimiser built from
    ``model.parameters()`` sees the predictors exactly when they are meant to be trained by it.
    Until it is fitted, the layer it stands in front of behaves as the plain layer.

    Args:
        groups: Number of diagonal blocks G.
        channels: Channels per block d.
        bias: Whether there is a ``b_D``.
        rank: If given, ``W_D = scale * I + up @ down`` with ``up`` [G, d, rank]; a low-rank matrix
            alone could not hold the multiple of the identity that unit noise asks for.
        trainable: Parameters instead of buffers.
        train_noise: Whether the layer adds fresh noise in training.
        device, dtype: As for any module.
    """

    def __init__(self, groups: int, channels: int, bias: bool, rank: int | None = None,
                 trainable: bool = False, train_noise: bool = False, device=None,
                 dtype=None) -> None:
        super().__init__()
        options = {'device': device, 'dtype': dtype}
        self.groups, self.channels = groups, channels
        self.rank = None if rank is None else min(rank, channels)
        self._names: list[str] = []
        if self.rank is None:
            self._add('weight', torch.zeros(groups, channels, channels, **options))
        else:
            # A fixed start for `down`, spread over the channels: no global generator is touched.
            down = torch.eye(channels, **options)[:: max(1, channels // self.rank)][:self.rank]
            self._add('scale', torch.zeros(groups, 1, 1, **options))
            self._add('up', torch.zeros(groups, channels, self.rank, **options))
            self._add('down', down.repeat(groups, 1, 1))
        if bias:
            self._add('bias', torch.zeros(groups, channels, **options))
        else:
            self.bias = None
        # A tensor, not a bool: it must follow whatever copies a model's tensors (EMA, checkpoints),
        # and multiplying by it costs no synchronisation with a GPU.
        self.register_buffer('fitted', torch.zeros((), **options))
        self._read: tuple[int, bool] | None = None  # a version of `fitted`, and whether it is 1
        self.train_noise = TrainNoise() if train_noise else None
        self.trainable_(trainable)

    def _add(self, name: str, value: Tensor) -> None:
        self._names.append(name)
        self.register_buffer(name, value)

    def trainable_(self, flag: bool = True) -> NoisePredictor:
        """Register the predictor's tensors as parameters (True) or buffers (False), values kept."""
        for name in self._names:
            value = getattr(self, name).detach()
            if isinstance(getattr(self, name), nn.Parameter) == flag:
                continue
            delattr(self, name)
            if flag:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        return self

    def matrix(self, dtype: torch.dtype | None = None) -> Tensor:
        """``W_D`` [G, d, d], computed in ``dtype`` (by default the predictor's own)."""
        if self.rank is None:
            return self.weight.to(dtype)
        scale, up, down = (value.to(dtype) for value in (self.scale, self.up, self.down))
        return scale * torch.eye(self.channels, device=up.device, dtype=up.dtype) + up @ down

    def forward(self, x: Tensor) -> Tensor:
        """Predicted noise of feature vectors ``x`` [n, G, d], same shape."""
        x = x.transpose(0, 1)
        if self.rank is None:
            noise = x @ self.weight.mT
        else:
            noise = self.scale * x + (x @ self.down.mT) @ self.up.mT
        if self.bias is not None:
            noise = noise + self.bias.unsqueeze(1)
        return noise.transpose(0, 1)

    @torch.no_grad()
    def set_(self, weight: Tensor, bias: Tensor | None) -> NoisePredictor:
        """Write a solved ``W_D`` [G, d, d] and ``b_D`` [G, d], and mark the predictor fitted.

        Raises:
            ValueError: for a low-rank predictor, which cannot hold a full-rank solution.
        """
        if self.rank is not None:
            raise ValueError('A low-rank predictor cannot take a solved W_D; use rank=None.')
        self.weight.copy_(weight)
        if self.bias is not None:
            self.bias.copy_(bias)
        return self._mark_fitted_()

    def hold_nothing_(self) -> NoisePredictor:
        """Give back the memory of a full-rank ``W_D``, for a layer whose optimum is folded in without
        being written here: one zero stands for all of it."""
        if self.rank is None:
            self.trainable_(False)
            self.weight = self.weight.new_zeros(()).expand(self.weight.shape)
        return self

    @torch.no_grad()
    def activate_(self) -> NoisePredictor:
        """Mark a predictor in training as fitted. Later calls cost nothing."""
        return self if self.wholly_fitted else self._mark_fitted_()

    def _mark_fitted_(self) -> NoisePredictor:
        self.fitted.fill_(1.0)
        self._read = self.fitted._version, True
        return self

    @property
    def wholly_fitted(self) -> bool:
        """Whether ``fitted`` is 1. The device is asked only where something has written to it since."""
        version = self.fitted._version
        if self._read is None or self._read[0] != version:
            self._read = version, self.fitted.item() == 1
        return self._read[1]

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_read': None}  # a copy's tensors count their versions anew

    def _apply(self, *args, **options) -> NoisePredictor:
        self._read = None  # and so do those moved or cast
        return super()._apply(*args, **options)

    @torch.no_grad()
    def reset_(self) -> NoisePredictor:
        """Back to the unfitted state."""
        for name in self._names:
            if name != 'down':
                getattr(self, name).zero_()
        self.fitted.zero_()
        return self

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        # A plain checkpoint loads strictly into a converted model and leaves the predictors alone.
        if any(key.startswith(prefix) for key in state_dict):
            super()._load_from_state_dict(state_dict, prefix, *args)
            self._read = None  # the tensor may be another one

    def extra_repr(self) -> str:
        rank = '' if self.rank is None else f', rank={self.rank}'
        return f'groups={self.groups}, channels={self.channels}, bias={self.bias is not None}{rank}'
