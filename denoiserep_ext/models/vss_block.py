"""The visual state space block of VMamba (Liu et al., arXiv 2401.10166).

Feature maps are [B, C, H, W] for the outside. In memory the channels come last, which is how linear
layers, norms and scans read them, so moving the channel dimension costs nothing.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..core.layer.layer_types import LayerType, register_layer_type
from .scan_kernels import walks_paths
from .selective_scan import cross_merge, cross_scan, image_scan, selective_scan

DIRECTIONS = 4


class Linear2d(nn.Linear):
    """A linear layer on the channels of a feature map, with the [out, in] weight of one on vectors.

    Args:
        in_features: Channels of the input [B, C, H, W].
        out_features: Channels of the output.
        bias: Whether to add one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Feature map [B, out_features, H, W]."""
        return _linear2d(self, x, self.weight, self.bias)


def _linear2d(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x.movedim(-3, -1), weight, bias).movedim(-1, -3)


register_layer_type(Linear2d, LayerType(_linear2d, channel_dim=-3, spatial=False))


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of a feature map [B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised feature map, shape of ``x``."""
        return super().forward(x.movedim(-3, -1)).movedim(-1, -3)


class DropPath(nn.Module):
    """Leaves out a residual branch for some images in training (stochastic depth; Huang et al., ECCV
    2016).

    Args:
        rate: Probability of leaving it out, 0 <= rate < 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [B, ...] with images zeroed or scaled up so that the mean stays."""
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * kept.div_(1 - self.rate)

    def extra_repr(self) -> str:
        return f'rate={self.rate:g}'


class Mlp(nn.Module):
    """Two linear layers with GELU between them.

    Args:
        channels: Channels of input and output.
        hidden: Channels between the layers.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear2d(channels, hidden)
        self.act = nn.GELU()
        self.fc2 = Linear2d(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map, shape of ``x`` [B, channels, H, W]."""
        return self.fc2(self.act(self.fc1(x)))


class SS2D(nn.Module):
    """2D selective scan without a gate: every pixel meets all others along four paths (paper, section
    4.2; the released ``v05_noz``).

    Parameter names, shapes and starting values are those of the released checkpoints.

    Args:
        channels: Channels of input and output.
        ssm_ratio: Inner channels over ``channels``.
        d_state: States N of each inner channel and direction.
        dt_rank: Rank R of the step sizes; ``auto`` is a sixteenth of ``channels``.
        kernel_size: Of the depthwise convolution before the scan, odd.
        scan_backend: See :func:`~denoiserep_ext.models.selective_scan.selective_scan`.
    """

    def __init__(self, channels: int, ssm_ratio: float = 1.0, d_state: int = 1,
                 dt_rank: int | str = 'auto', kernel_size: int = 3,
                 scan_backend: str | None = None) -> None:
        super().__init__()
        inner = int(ssm_ratio * channels)
        self.d_state, self.scan_backend = d_state, scan_backend
        self.dt_rank = math.ceil(channels / 16) if dt_rank == 'auto' else dt_rank
        self.in_proj = Linear2d(channels, inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, kernel_size, padding=kernel_size // 2, groups=inner,
                                bias=False)
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, self.dt_rank + 2 * d_state, inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, inner, self.dt_rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, inner))
        self.A_logs = nn.Parameter(torch.empty(DIRECTIONS * inner, d_state))
        self.Ds = nn.Parameter(torch.empty(DIRECTIONS * inner))
        self.out_norm = LayerNorm2d(inner)
        self.out_proj = Linear2d(inner, channels, bias=False)
        self.reset_scan_parameters()

    @torch.no_grad()
    def reset_scan_parameters(self, dt_min: float = 0.001, dt_max: float = 0.1) -> None:
        """Mamba's starting values: steps drawn log-uniformly from ``dt_min`` to ``dt_max``, states
        that forget at rates 1, 2, ... N."""
        bound = self.x_proj_weight.shape[2]**-0.5
        self.x_proj_weight.uniform_(-bound, bound)
        bound = self.dt_rank**-0.5
        self.dt_projs_weight.uniform_(-bound, bound)
        low, high = math.log(dt_min), math.log(dt_max)
        step = torch.rand_like(self.dt_projs_bias).mul_(high - low).add_(low).exp_().clamp_(min=1e-4)
        self.dt_projs_bias.copy_(step + torch.log(-torch.expm1(-step)))  # softplus undone
        self.A_logs.copy_(torch.arange(1, self.d_state + 1).log().expand_as(self.A_logs))
        self.Ds.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map, shape of ``x`` [B, channels, H, W]."""
        x = F.silu(self.conv2d(self.in_proj(x)))
        y = self.out_norm(self.scan(x).to(self.out_norm.weight.dtype))
        return self.out_proj(y.to(x.dtype))

    def scan(self, x: Tensor) -> Tensor:
        """What each pixel reads from the four paths through it, summed: shape of ``x`` [B, D, H, W],
        float32 or float64."""
        height, width = x.shape[2:]
        x = x.permute(0, 2, 3, 1)
        A, D = (p.unflatten(0, (DIRECTIONS, -1)) for p in (-self.A_logs.exp(), self.Ds))
        if walks_paths(x, self.d_state, self.scan_backend):
            # Of each pixel, for all four paths.
            low = F.linear(x, self.x_proj_weight.flatten(0, 1)).flatten(1, 2)
            delta, B, C = self._coefficients(low.unflatten(-1, (DIRECTIONS, -1)).transpose(1, 2))
            return image_scan(x, delta, A, B, C, D, self.dt_projs_bias).permute(0, 3, 1, 2)
        u = cross_scan(x)
        delta, B, C = self._coefficients(u @ self.x_proj_weight.mT)
        y = selective_scan(u, delta, A, B, C, D, self.dt_projs_bias, self.scan_backend)
        return cross_merge(y, height, width).permute(0, 3, 1, 2)

    def _coefficients(self, low: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes [B, 4, L, D] and weights B and C [B, 4, L, N] from [B, 4, L, R + 2 N]."""
        step, B, C = low.split([self.dt_rank, self.d_state, self.d_state], -1)
        return step @ self.dt_projs_weight.mT, B, C


class VSSBlock(nn.Module):
    """Scan and MLP, each behind a norm and beside an identity path (paper, figure 3).

    Args:
        channels: Channels of the feature map.
        mlp_ratio: Hidden channels of the MLP over ``channels``.
        drop_path: Rate of :class:`DropPath`.
        with_cp: Recompute activations in the backward pass instead of keeping them.
        **scan: Settings of :class:`SS2D`.
    """

    def __init__(self, channels: int, mlp_ratio: float = 4.0, drop_path: float = 0.0,
                 with_cp: bool = False, **scan) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.norm = LayerNorm2d(channels)
        self.op = SS2D(channels, **scan)
        self.drop_path = DropPath(drop_path)
        self.norm2 = LayerNorm2d(channels)
        self.mlp = Mlp(channels, int(channels * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """Feature map, shape of ``x`` [B, channels, H, W]."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.op(self.norm(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))
