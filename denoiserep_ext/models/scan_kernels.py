"""GPU kernels of the selective scan: which one is for which tensors."""
from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

# Modules by the name that users ask for them with, the preferred one first. Of the extensions, the first
# comes with VMamba, the second with mamba_ssm; they differ in the order of their arguments. The third is
# this package's own and imports Triton.
KERNELS = {'oflex': 'selective_scan_cuda_oflex', 'mamba': 'selective_scan_cuda',
           'triton': f'{__package__}.triton_scan'}
_COMES_WITH = {'oflex': 'VMamba', 'mamba': 'mamba_ssm', 'triton': 'Triton: pip install triton'}
_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_MAX_STATES = 256


@torch.compiler.disable
def kernel_for(u: Tensor, states: int, name: str | None = None) -> str | None:
    """The kernel for a tensor, not for a machine: None on a CPU, for float64 and so on.

    Args:
        u: Input of the scan.
        states: Number N of states.
        name: One to insist on.

    Raises:
        RuntimeError: if the one insisted on cannot be used, and why.
    """
    fits = _fits(u, states)
    if name is None:
        return next((k for k in KERNELS if fits and _usable(k, u.device)), None)
    if _module(name) is None:
        raise RuntimeError(f'backend={name!r}: {KERNELS[name]} cannot be imported. Install it (it comes '
                           f'with {_COMES_WITH[name]}), or leave the choice open with None.')
    if not fits:
        raise RuntimeError(f'backend={name!r} is for CUDA tensors in float32, float16 or bfloat16 with '
                           f'up to {_MAX_STATES} states, got {u.dtype} on {u.device} with {states}. '
                           f'Leave the choice open with None.')
    return name


def walks_paths(x: Tensor, states: int, name: str | None) -> bool:
    """Whether :func:`~denoiserep_ext.models.selective_scan.image_scan` is for an image, which then
    need not be laid out as four sequences.

    Args:
        x: The image [b, H, W, D].
        states: Number N of states.
        name: The ``backend`` asked for.
    """
    return x.is_cuda and len(x) > 0 and name in (None, 'triton') and \
        kernel_for(x, states, name) == 'triton'


def _fits(u: Tensor, states: int) -> bool:
    return u.is_cuda and u.dtype in _TYPES and states <= _MAX_STATES


@cache
def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(KERNELS[name])
    except (ImportError, OSError):  # not there, or built for another torch
        return None


def _usable(name: str, device: torch.device) -> bool:
    return _module(name) is not None and (name != 'triton' or _module(name).runs_on(device))


def run_kernel(kernel: str, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
               delta_bias: Tensor) -> Tensor:
    """:func:`~denoiserep_ext.models.selective_scan.selective_scan` by a kernel."""
    if kernel == 'triton':
        return walk(u, delta, A, B, C, D, delta_bias, None)
    return compiled_scan(kernel, u, delta, A, B, C, D, delta_bias)


def walk(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor,
         size: tuple[int, int] | None) -> Tensor:
    """:class:`~denoiserep_ext.models.triton_scan.TritonScan`."""
    return _module('triton').TritonScan.apply(u, delta, A, B, C, D, delta_bias, size)


def compiled_scan(kernel: str, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
                  delta_bias: Tensor) -> Tensor:
    """The scan by an extension, whose layout keeps the steps last and the directions' channels
    together."""
    b, K, L, channels = u.shape
    rates, direct, bias = (x.flatten(0, 1).float() for x in (A, D, delta_bias))
    sequences = [x.mT.reshape(b, K * channels, L) for x in (u, delta.to(u.dtype))]
    weights = [x.to(u.dtype).mT.contiguous() for x in (B, C)]
    y = _KernelScan.apply(kernel, *sequences, rates, *weights, direct, bias)
    return y.reshape(b, K, channels, L).mT.float()


class _KernelScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernel: str, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
                delta_bias: Tensor) -> Tensor:
        module = _module(kernel)
        if kernel == 'oflex':  # softplus; one row per thread block; output in float32
            y, x, *_ = module.fwd(u, delta, A, B, C, D, delta_bias, True, 1, True)
        else:  # no gate z; softplus
            y, x, *_ = module.fwd(u, delta, A, B, C, D, None, delta_bias, True)
        ctx.kernel = kernel
        ctx.save_for_backward(u, delta, A, B, C, D, delta_bias, x)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, delta, A, B, C, D, delta_bias, x = ctx.saved_tensors
        module, dy = _module(ctx.kernel), dy.contiguous()
        if ctx.kernel == 'oflex':
            grads = module.bwd(u, delta, A, B, C, D, delta_bias, dy, x, True, 1)
        else:  # no gate, hence no output to read it from; nothing recomputed
            grads = module.bwd(u, delta, A, B, C, D, None, delta_bias, dy, x, None, None, True, False)
        # Kernels hand back float32 for what they summed up.
        inputs = u, delta, A, B, C, D, delta_bias
        return None, *(grad.to(value.dtype) for grad, value in zip(grads, inputs))
