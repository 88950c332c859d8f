"""The selective scan of Mamba (Gu and Dao, arXiv 2312.00752) over several directions of an image."""
from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from .chunked_scan import ChunkedScan
from .scan_kernels import KERNELS, kernel_for, run_kernel, walk


@torch.compiler.disable  # a loop over steps: one graph break instead of thousands of nodes
def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
                   delta_bias: Tensor, backend: str | None = None) -> Tensor:
    """Read sequences through a linear recurrence whose coefficients depend on them.

    With ``step = softplus(delta + delta_bias)``, for every channel::

        h_t = exp(step_t A) h_{t-1} + step_t u_t B_t        (N states, h_0 = 0)
        y_t = C_t . h_t + D u_t

    It is computed in float32, or float64 where an input has it, also under autocast.

    Args:
        u: Sequences [b, K, L, D], one for each of K directions; b may be 0.
        delta: Step sizes before the softplus [b, K, L, D].
        A: Rates [K, D, N]; negative ones forget.
        B: Input weights [b, K, L, N].
        C: Output weights [b, K, L, N].
        D: Weights of the direct path [K, D].
        delta_bias: Added to ``delta`` [K, D].
        backend: ``chunked``, plain PyTorch on any device; ``oflex`` (``selective_scan_cuda_oflex`` of
            VMamba) or ``mamba`` (``selective_scan_cuda`` of mamba_ssm), kernels that have to be
            installed; ``triton``, this package's own, which needs Triton. None takes the first of
            these kernels that is there and for these very tensors, else ``chunked``.

    Returns:
        ``y`` [b, K, L, D], float32 or float64.

    Raises:
        ValueError: if shapes do not belong together, or for an unknown ``backend``.
        RuntimeError: if the kernel asked for is not installed or not for these tensors.
    """
    _check_shapes(u, delta, A, B, C, D, delta_bias)
    if backend not in (None, 'chunked', *KERNELS):
        raise ValueError(f'backend={backend!r}: choose chunked, {", ".join(KERNELS)} or None.')
    # There is no autocast on meta.
    with nullcontext() if u.is_meta else torch.autocast(u.device.type, enabled=False):
        if backend != 'chunked' and len(u):
            kernel = kernel_for(u, A.shape[2], backend)
            if kernel is not None:
                return run_kernel(kernel, u, delta, A, B, C, D, delta_bias)
        inputs = u, delta, A, B, C, D, delta_bias
        wide = torch.float64 if any(x.dtype == torch.float64 for x in inputs) else torch.float32
        return _chunked_scan(*(x.to(wide) for x in inputs))


@torch.compiler.disable
def image_scan(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
               delta_bias: Tensor) -> Tensor:
    """:func:`cross_merge` of :func:`selective_scan` of :func:`cross_scan` by the Triton kernel, which
    walks the four paths itself: nothing is laid out along them.

    Args:
        x: Image [b, H, W, D] on a GPU.
        delta: Step sizes of each path at each pixel, row by row [b, 4, H W, D].
        A, D, delta_bias: As in :func:`selective_scan`, with K = 4.
        B, C: Weights of each path at each pixel, row by row [b, 4, H W, N].

    Returns:
        The sum over paths [b, H, W, D], float32.

    Raises:
        ValueError: if shapes do not belong together.
    """
    u = x.flatten(1, 2)[:, None]
    _check_shapes(u.expand(-1, 4, -1, -1), delta, A, B, C, D, delta_bias)
    with torch.autocast(x.device.type, enabled=False):
        return walk(u, delta, A, B, C, D, delta_bias, tuple(x.shape[1:3])).view(x.shape)


def _chunked_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
                  delta_bias: Tensor) -> Tensor:
    length = u.shape[2]
    chunk, padding = _chunk_length(length)
    if padding:  # steps after the last one: nothing reads them
        u, delta, B, C = (F.pad(x, (0, 0, 0, padding)) for x in (u, delta, B, C))
    return ChunkedScan.apply(u, delta, A, B, C, D, delta_bias, chunk)[:, :, :length]


def _chunk_length(length: int) -> tuple[int, int]:
    """Steps of a chunk and of padding: near the square root, where the loops over steps and over
    chunks are equally long; a divisor of the length (the side of an image) if one is near."""
    root = math.isqrt(length - 1) + 1
    for chunk in range(root, min(2 * root, length) + 1):
        if length % chunk == 0:
            return chunk, 0
    return root, -length % root


def stepwise_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
                  delta_bias: Tensor) -> Tensor:
    """:func:`selective_scan` as its equations are written, a step at a time: slow, and what tests and
    benchmarks compare with."""
    step = F.softplus(delta + delta_bias[:, None])
    decay = torch.exp(step.unsqueeze(-1) * A[:, None])
    inflow = (step * u).unsqueeze(-1) * B.unsqueeze(-2)
    h, read = torch.zeros_like(decay[:, :, 0]), []
    for t in range(u.shape[2]):
        h = decay[:, :, t] * h + inflow[:, :, t]
        read.append((h * C[:, :, t].unsqueeze(-2)).sum(-1))
    return torch.stack(read, dim=2) + D[:, None] * u


def _check_shapes(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
                  delta_bias: Tensor) -> None:
    if u.ndim != 4 or A.ndim != 3 or 0 in u.shape[1:]:
        raise ValueError(f'u must be [b, K, L, D] with nothing but b of size 0, and A [K, D, N]: got '
                         f'{list(u.shape)} and {list(A.shape)}.')
    b, K, L, channels = u.shape
    N = A.shape[2]
    wanted = {'delta': (delta, (b, K, L, channels)), 'A': (A, (K, channels, N)),
              'B': (B, (b, K, L, N)), 'C': (C, (b, K, L, N)), 'D': (D, (K, channels)),
              'delta_bias': (delta_bias, (K, channels))}
    for name, (x, shape) in wanted.items():
        if tuple(x.shape) != shape:
            raise ValueError(f'{name} is {list(x.shape)}; with u {list(u.shape)} and {N} states it '
                             f'must be {list(shape)}.')


# Four ways through an image (paper, section 4.2): along its rows, along its columns, and both back.

def cross_scan(x: Tensor) -> Tensor:
    """Pixels [b, H, W, D] as four sequences [b, 4, H W, D]."""
    forth = torch.stack([x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)], dim=1)
    return torch.cat([forth, forth.flip(2)], dim=1)


def cross_merge(y: Tensor, height: int, width: int) -> Tensor:
    """The sum [b, H, W, D] of what four sequences [b, 4, H W, D] read at each pixel."""
    forth = y[:, :2] + y[:, 2:].flip(2)
    columns = forth[:, 1].unflatten(1, (width, height)).transpose(1, 2)
    return forth[:, 0].unflatten(1, (height, width)) + columns
