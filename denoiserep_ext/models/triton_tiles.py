"""What the Triton kernels of the selective scan are made of: tiles [steps, channels, states]."""
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def pixel_of(step, direction, length, height, width, CROSS: tl.constexpr):
    """Where a step of a path reads: along rows, along columns, and both back; else at the step."""
    pixel = step
    if CROSS:
        forth = tl.where(direction < 2, step, length - 1 - step)
        pixel = tl.where(direction % 2 == 0, forth, forth % height * width + forth // height)
    return pixel


@triton.jit
def load_row(ptr, column, columns):
    """Float32 [columns]; zero past the last."""
    return tl.load(ptr + column, mask=column < columns, other=0.0).to(tl.float32)


@triton.jit
def load_steps(ptr, row, there, column, columns):
    """Float32 [steps, columns]; zero where there is nothing."""
    mask = there[:, None] & (column < columns)[None, :]
    return tl.load(ptr + row[:, None] * columns + column[None, :], mask=mask, other=0.0).to(tl.float32)


@triton.jit
def store_steps(ptr, row, there, column, columns, value):
    mask = there[:, None] & (column < columns)[None, :]
    tl.store(ptr + row[:, None] * columns + column[None, :], value, mask=mask)


@triton.jit
def softplus(x):
    """``log(1 + exp(x))`` to a relative rounding error: a step of 1e-3 needs log1p, which is not
    in Triton's language. Here 2 artanh(z) as a series in z <= 1/3, cut below 1e-8."""
    e = tl.exp(-tl.abs(x))
    z = e / (2.0 + e)
    s = z * z
    series = 1.0 + s * (1 / 3 + s * (1 / 5 + s * (1 / 7 + s * (1 / 9 + s * (1 / 11 + s * (
        1 / 13 + s * (1 / 15)))))))
    return tl.maximum(x, 0.0) + 2.0 * z * series


@triton.jit
def decays(delta, A):
    """``exp(delta A)`` [steps, channels, states]."""
    return tl.exp(delta[:, :, None] * A[None, :, :])


@triton.jit
def _after(decay, state, next_decay, next_state):
    return decay * next_decay, next_decay * state + next_state


@triton.jit
def scan_steps(decay, inflow, start, BACK: tl.constexpr):
    """``h_t = decay_t h_{t-1} + inflow_t`` from ``start``, or from the last step to the first."""
    total, states = tl.associative_scan((decay, inflow), 0, _after, reverse=BACK)
    return states + total * start[None, :, :]
