"""The selective scan as Triton kernels, which also walk the four paths through an image themselves.

A program reads a few channels of one sequence, a chunk of steps at a time: within a chunk the linear
recurrence is an associative scan, and the states it ends with are handed to the next chunk. Only the
states that chunks start with are kept: backward computes the others anew, from the last chunk to the
first. What goes into any sum over programs is written out and summed in a fixed order: results do not
change from run to run. All arithmetic is in float32, whatever the tensors are.
"""
from __future__ import annotations

import warnings
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from .triton_tiles import decays, load_row, load_steps, pixel_of, scan_steps, softplus, store_steps

_STATES_AT_A_TIME = 1024  # of a program: steps of a chunk x channels x states
_STEPS = 16, 64  # of a chunk, at least and at most


class TritonScan(torch.autograd.Function):
    """``selective_scan``, and with ``size`` the scan of an image along its four paths.

    Shapes as in :func:`~denoiserep_ext.models.selective_scan.selective_scan`. With ``size`` (height,
    width) every tensor is in the order of pixels for all paths alike, ``u`` is the image [b, 1, L, D]
    and so is what comes back: the sum over paths.
    """

    @staticmethod
    def forward(ctx, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
                delta_bias: Tensor, size: tuple[int, int] | None) -> Tensor:
        inputs = [x.contiguous() for x in (u, delta, A, B, C, D, delta_bias)]
        tiles = _Tiles(delta, A, size)
        y = torch.empty(delta.shape, dtype=torch.float32, device=u.device)
        starts = y.new_empty(tiles.batch * tiles.directions, tiles.chunks, *A.shape[1:])
        with torch.cuda.device_of(u):
            _forward[tiles.grid](*inputs, y, starts, *tiles.sizes, **tiles.options,
                                 num_warps=tiles.warps)
        ctx.save_for_backward(*inputs, starts)
        ctx.size = size
        return y if size is None else y.sum(1, keepdim=True)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, starts = ctx.saved_tensors
        u, delta, A, B, C, D, delta_bias = inputs
        tiles = _Tiles(delta, A, ctx.size)

        def empty(*shape: int) -> Tensor:
            return starts.new_empty(shape)

        du, ddelta = empty(*delta.shape), torch.empty_like(delta)
        dB, dC = (empty(tiles.channel_blocks, *B.shape) for _ in range(2))
        dA, dD, dbias = (empty(tiles.batch, *x.shape) for x in (A, D, delta_bias))
        with torch.cuda.device_of(u):
            _backward[tiles.grid](*inputs, dy.contiguous(), starts, du, ddelta, dA, dB, dC, dD, dbias,
                                  *tiles.sizes, **tiles.options, num_warps=2 * tiles.warps)
        if ctx.size is not None:
            du = du.sum(1, keepdim=True)
        grads = du, ddelta, *(x.sum(0) for x in (dA, dB, dC, dD, dbias))
        return *(grad.to(value.dtype) for grad, value in zip(grads, inputs)), None


@cache
def runs_on(device: torch.device) -> bool:
    """Whether Triton can build for a device: it needs a C compiler, and a GPU that it knows."""
    one = torch.ones(1, 1, 1, 1, device=device)
    try:
        TritonScan.apply(one, one, one[0], one, one, one[0, 0], one[0, 0], None)
    except Exception as error:  # whatever a compiler may raise
        warnings.warn(f'No Triton kernel of the selective scan on {device}, a slower path is taken '
                      f"(backend='chunked'): {type(error).__name__}: {error}")
        return False
    return True


class _Tiles:
    """How the work is cut up."""

    def __init__(self, delta: Tensor, A: Tensor, size: tuple[int, int] | None) -> None:
        self.batch, self.directions, length, channels = delta.shape
        states = triton.next_power_of_2(A.shape[2])
        # Neighbouring channels are neighbours in memory: 32 of them fill its transactions.
        least, most = _STEPS
        block = min(triton.next_power_of_2(channels), 32,
                    max(1, _STATES_AT_A_TIME // least // states))
        steps = min(max(least, _STATES_AT_A_TIME // block // states), most,
                    max(least, triton.next_power_of_2(length)))
        self.chunks, self.channel_blocks = triton.cdiv(length, steps), triton.cdiv(channels, block)
        self.grid = self.batch * self.directions, self.channel_blocks
        height, width = size or (0, 0)
        self.sizes = self.directions, length, channels, A.shape[2], height, width
        self.options = dict(CROSS=size is not None, STEPS=steps, CHANNELS=block, STATES=states)
        # Fastest on an H100 of 1, 2, 4 and 8: one forward, two backward, which holds more.
        self.warps = min(4, max(1, steps * block * states // _STATES_AT_A_TIME))


@triton.jit
def _forward(u_ptr, delta_ptr, A_ptr, B_ptr, C_ptr, D_ptr, bias_ptr, y_ptr, starts_ptr,
             directions, length, channels, states, height, width,
             CROSS: tl.constexpr, STEPS: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr):
    sequence = tl.program_id(0).to(tl.int64)
    direction = (sequence % directions).to(tl.int32)
    d = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    n, t = tl.arange(0, STATES), tl.arange(0, STEPS)
    used = (d < channels)[:, None] & (n < states)[None, :]
    dn = d[:, None] * states + n[None, :]
    A = tl.load(A_ptr + direction * channels * states + dn, mask=used, other=0.0).to(tl.float32)
    D = load_row(D_ptr + direction * channels, d, channels)
    bias = load_row(bias_ptr + direction * channels, d, channels)

    image = sequence // directions if CROSS else sequence
    u_ptr += image * length * channels
    delta_ptr += sequence * length * channels
    y_ptr += sequence * length * channels
    B_ptr += sequence * length * states
    C_ptr += sequence * length * states
    chunks = tl.cdiv(length, STEPS)
    starts_ptr += sequence * chunks * channels * states

    h = tl.zeros([CHANNELS, STATES], dtype=tl.float32)
    for chunk in range(chunks):
        tl.store(starts_ptr + chunk * channels * states + dn, h, mask=used)
        step = chunk * STEPS + t
        there = step < length
        pixel = pixel_of(step, direction, length, height, width, CROSS)
        u = load_steps(u_ptr, pixel, there, d, channels)
        delta = load_steps(delta_ptr, pixel, there, d, channels) + bias
        delta = tl.where(there[:, None], softplus(delta), 0.0)
        B = load_steps(B_ptr, pixel, there, n, states)
        C = load_steps(C_ptr, pixel, there, n, states)
        read = scan_steps(decays(delta, A), (delta * u)[:, :, None] * B[:, None, :], h, False)
        store_steps(y_ptr, pixel, there, d, channels, tl.sum(read * C[:, None, :], axis=2) + D * u)
        h = tl.sum(tl.where((t == STEPS - 1)[:, None, None], read, 0.0), axis=0)


@triton.jit
def _backward(u_ptr, delta_ptr, A_ptr, B_ptr, C_ptr, D_ptr, bias_ptr, dy_ptr, starts_ptr,
              du_ptr, ddelta_ptr, dA_ptr, dB_ptr, dC_ptr, dD_ptr, dbias_ptr,
              directions, length, channels, states, height, width,
              CROSS: tl.constexpr, STEPS: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr):
    sequence = tl.program_id(0).to(tl.int64)
    direction = (sequence % directions).to(tl.int32)
    d = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    n, t = tl.arange(0, STATES), tl.arange(0, STEPS)
    used = (d < channels)[:, None] & (n < states)[None, :]
    dn = d[:, None] * states + n[None, :]
    A = tl.load(A_ptr + direction * channels * states + dn, mask=used, other=0.0).to(tl.float32)
    D = load_row(D_ptr + direction * channels, d, channels)
    bias = load_row(bias_ptr + direction * channels, d, channels)

    image = sequence // directions if CROSS else sequence
    u_ptr += image * length * channels
    dy_ptr += image * length * channels
    delta_ptr += sequence * length * channels
    du_ptr += sequence * length * channels
    ddelta_ptr += sequence * length * channels
    B_ptr += sequence * length * states
    C_ptr += sequence * length * states
    partial = (tl.program_id(1) * tl.num_programs(0) + sequence) * length * states
    dB_ptr += partial
    dC_ptr += partial
    chunks = tl.cdiv(length, STEPS)
    starts_ptr += sequence * chunks * channels * states

    dA = tl.zeros([CHANNELS, STATES], dtype=tl.float32)
    dD = tl.zeros([CHANNELS], dtype=tl.float32)
    dbias = tl.zeros([CHANNELS], dtype=tl.float32)
    slope = tl.zeros([CHANNELS, STATES], dtype=tl.float32)  # dL/dh of the step after the chunk
    for back in range(chunks):
        chunk = chunks - 1 - back
        step = chunk * STEPS + t
        there = step < length
        pixel = pixel_of(step, direction, length, height, width, CROSS)
        u = load_steps(u_ptr, pixel, there, d, channels)
        dy = load_steps(dy_ptr, pixel, there, d, channels)
        raw = load_steps(delta_ptr, pixel, there, d, channels) + bias
        delta = tl.where(there[:, None], softplus(raw), 0.0)
        B = load_steps(B_ptr, pixel, there, n, states)
        C = load_steps(C_ptr, pixel, there, n, states)
        decay = decays(delta, A)

        # The states before each step: those of the steps before, after the one the chunk starts with.
        inside = there & (t > 0)
        ago = pixel_of(step - 1, direction, length, height, width, CROSS)
        delta_ago = tl.where(inside[:, None],
                             softplus(load_steps(delta_ptr, ago, inside, d, channels) + bias), 0.0)
        flow = delta_ago * load_steps(u_ptr, ago, inside, d, channels)
        inflow = flow[:, :, None] * load_steps(B_ptr, ago, inside, n, states)[:, None, :]
        start = tl.load(starts_ptr + chunk * channels * states + dn, mask=used, other=0.0)
        before = scan_steps(decays(delta_ago, A), inflow, start, False)
        before = tl.where(there[:, None, None], before, 0.0)

        # dL/dh: the same recurrence, from the last step to the first.
        later = step + 1 < length
        ahead = pixel_of(step + 1, direction, length, height, width, CROSS)
        delta_ahead = tl.where(later[:, None],
                               softplus(load_steps(delta_ptr, ahead, later, d, channels) + bias), 0.0)
        slopes = scan_steps(decays(delta_ahead, A), dy[:, :, None] * C[:, None, :], slope, True)
        slope = tl.sum(tl.where((t == 0)[:, None, None], slopes, 0.0), axis=0)

        held = decay * before
        flow = delta * u
        dC = tl.sum((held + flow[:, :, None] * B[:, None, :]) * dy[:, :, None], axis=1)
        store_steps(dC_ptr, pixel, there, n, states, dC)
        store_steps(dB_ptr, pixel, there, n, states, tl.sum(slopes * flow[:, :, None], axis=1))
        dexponent = slopes * held  # dL/d(delta A)
        dA += tl.sum(dexponent * delta[:, :, None], axis=0)
        dD += tl.sum(dy * u, axis=0)
        dflow = tl.sum(slopes * B[:, None, :], axis=2)
        store_steps(du_ptr, pixel, there, d, channels, dflow * delta + dy * D)
        draw = (tl.sum(dexponent * A[None, :, :], axis=2) + dflow * u) * tl.sigmoid(raw)
        draw = tl.where(there[:, None], draw, 0.0)
        store_steps(ddelta_ptr, pixel, there, d, channels, draw)
        dbias += tl.sum(draw, axis=0)

    tl.store(dA_ptr + sequence * channels * states + dn, dA, mask=used)
    tl.store(dD_ptr + sequence * channels + d, dD, mask=d < channels)
    tl.store(dbias_ptr + sequence * channels + d, dbias, mask=d < channels)
