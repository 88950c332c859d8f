"""The selective scan in plain PyTorch, without a kernel and without a loop over every step.

A sequence is cut into chunks. All chunks run side by side, so the loop is as long as one chunk; a
second loop, as long as the number of chunks, hands each chunk the state its predecessor ends with.
Every state comes out of the recurrence itself: there is no quotient of cumulative products that could
under- or overflow. Only the states that chunks start with are kept: backward recomputes the others.
A few sequences are done at a time, so working memory does not grow with the batch.
"""
from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

# States computed at a time, a whole sequence at least: fewest seconds on 2 cores; a guess elsewhere.
_BUDGET = {'cpu': 2**22}
_BUDGET_ELSEWHERE = 2**25

Block = tuple[slice, slice]  # of images and directions


class ChunkedScan(torch.autograd.Function):
    """``selective_scan`` for inputs of one floating type whose length is a multiple of ``chunk``.

    Shapes as in :func:`~denoiserep_ext.models.selective_scan.selective_scan`.
    """

    @staticmethod
    def forward(ctx, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
                delta_bias: Tensor, chunk: int) -> Tensor:
        y = torch.empty_like(u)
        starts = u.new_empty(*u.shape[:2], u.shape[2] // chunk, A.shape[2], u.shape[3])
        for block in _blocks(u, A):
            part = _Part(block, u, delta, A, B, delta_bias, chunk)
            inflow = part.inflow()
            starts[block] = _starts(inflow, part.decay, part.total)
            states = _run_(inflow, part.decay, starts[block])
            torch.addcmul(_read_(states, _chunks(C, block, chunk)), part.u, _per_direction(D, block),
                          out=_chunks(y, block, chunk))
        ctx.save_for_backward(u, delta, A, B, C, D, delta_bias, starts)
        ctx.chunk = chunk
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, delta, A, B, C, D, delta_bias, starts = ctx.saved_tensors
        chunk = ctx.chunk
        du, ddelta, dB, dC = (torch.empty_like(x) for x in (u, delta, B, C))
        dA, dD, dbias = (torch.zeros_like(x) for x in (A, D, delta_bias))
        for block in _blocks(u, A):
            part = _Part(block, u, delta, A, B, delta_bias, chunk)
            dout, directions = _chunks(dy, block, chunk), block[1]
            states = _run_(part.inflow(), part.decay, starts[block])
            _chunks(dC, block, chunk).copy_(_dot(states, dout.unsqueeze(-2)))
            # dL/dh: the same recurrence, from the last step to the first.
            slopes = dout.unsqueeze(-2) * _chunks(C, block, chunk).unsqueeze(-1)
            _run_back_(slopes, part.decay, part.total)
            _chunks(dB, block, chunk).copy_(_dot(slopes, (part.delta * part.u).unsqueeze(-2)))
            # dL/d(delta A) = dL/dh_t decay_t h_{t-1}, in the states' place.
            ahead = part.decay.mul_(slopes)
            ahead[:, :, :, 1:].mul_(states[:, :, :, :-1])
            ahead[:, :, :, 0].mul_(starts[block])
            dinflow = _read_(slopes, part.B)
            dstep = _sum_states(ahead * part.A).addcmul_(dinflow, part.u)
            dA[directions] += _sum_steps(ahead.mul_(part.delta.unsqueeze(-2))).mT
            dD[directions] += _sum_steps(dout * part.u)
            torch.addcmul(dinflow.mul_(part.delta), dout, _per_direction(D, block),
                          out=_chunks(du, block, chunk))
            # The slope of softplus, in terms of its value.
            dstep.mul_(part.delta.neg_().expm1_().neg_())
            dbias[directions] += _sum_steps(dstep)
            _chunks(ddelta, block, chunk).copy_(dstep)
        return du, ddelta, dA, dB, dC, dD, dbias, None


class _Part:
    """What the recurrence of some sequences is made of, in chunks: [b, k, chunks, steps, (N,) D]."""

    def __init__(self, block: Block, u: Tensor, delta: Tensor, A: Tensor, B: Tensor,
                 delta_bias: Tensor, chunk: int) -> None:
        self.u, self.B = _chunks(u, block, chunk), _chunks(B, block, chunk)
        self.delta = F.softplus(_chunks(delta, block, chunk) + _per_direction(delta_bias, block))
        self.A = _per_direction(A.mT, block)
        self.decay = (self.delta.unsqueeze(-2) * self.A).exp_()
        # Over a whole chunk [b, k, chunks, N, D].
        self.total = (self.delta.sum(3).unsqueeze(-2) * self.A.squeeze(1)).exp_()

    def inflow(self) -> Tensor:
        """``delta u B``, what each step adds to the states."""
        return (self.delta * self.u).unsqueeze(-2) * self.B.unsqueeze(-1)


def _starts(inflow: Tensor, decay: Tensor, total: Tensor) -> Tensor:
    """The states [b, k, chunks, N, D] that chunks begin with; sequences begin with zero."""
    ends = inflow[:, :, :, 0].clone()
    for t in range(1, inflow.shape[3]):
        torch.addcmul(inflow[:, :, :, t], decay[:, :, :, t], ends, out=ends)
    starts = torch.zeros_like(ends)
    for c in range(1, ends.shape[2]):
        torch.addcmul(ends[:, :, c - 1], total[:, :, c - 1], starts[:, :, c - 1],
                      out=starts[:, :, c])
    return starts


def _run_(inflow: Tensor, decay: Tensor, h: Tensor) -> Tensor:
    """``h_t = decay_t h_{t-1} + inflow_t``, written over ``inflow``."""
    for t in range(inflow.shape[3]):
        h = torch.addcmul(inflow[:, :, :, t], decay[:, :, :, t], h, out=inflow[:, :, :, t])
    return inflow


def _run_back_(slopes: Tensor, decay: Tensor, total: Tensor) -> None:
    """``g_t = slopes_t + decay_{t+1} g_{t+1}``, written over ``slopes``."""
    steps, chunks = slopes.shape[3], slopes.shape[2]
    first = slopes[:, :, :, -1].clone()
    for t in range(steps - 2, -1, -1):
        torch.addcmul(slopes[:, :, :, t], decay[:, :, :, t + 1], first, out=first)
    handed = first.mul_(decay[:, :, :, 0])  # by each chunk to the one before it
    last = torch.zeros_like(first)
    for c in range(chunks - 2, -1, -1):
        torch.addcmul(handed[:, :, c + 1], total[:, :, c + 1], last[:, :, c + 1], out=last[:, :, c])
    g = slopes[:, :, :, -1].add_(last)
    for t in range(steps - 2, -1, -1):
        g = torch.addcmul(slopes[:, :, :, t], decay[:, :, :, t + 1], g, out=slopes[:, :, :, t])


def _blocks(u: Tensor, A: Tensor) -> Iterator[Block]:
    """Images and directions to do at a time."""
    budget = _BUDGET.get(u.device.type, _BUDGET_ELSEWHERE)
    batch, directions = u.shape[:2]
    sequences = max(1, budget // max(1, u.shape[2] * A.shape[1] * A.shape[2]))
    images, directions_at_once = max(1, sequences // directions), min(sequences, directions)
    for b in range(0, batch, images):
        for k in range(0, directions, directions_at_once):
            yield slice(b, b + images), slice(k, k + directions_at_once)


def _chunks(x: Tensor, block: Block, chunk: int) -> Tensor:
    """A block of [b, k, L, ...] as a view [b, k, chunks, steps, ...]."""
    return x[block].unflatten(2, (-1, chunk))


def _per_direction(x: Tensor, block: Block) -> Tensor:
    """[k, ...] to go with [b, k, chunks, steps, ...]."""
    return x[block[1], None, None]


def _read_(states: Tensor, weight: Tensor) -> Tensor:
    """``sum_n weight_n states_n`` [b, k, chunks, steps, D] for weights [..., N]; states are spent."""
    return _sum_states(states.mul_(weight.unsqueeze(-1)))


def _sum_states(x: Tensor) -> Tensor:
    return x.squeeze(-2) if x.shape[-2] == 1 else x.sum(-2)


def _sum_steps(x: Tensor) -> Tensor:
    """Over images, chunks and steps: [k, ...]."""
    return x.sum((0, 2, 3))


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Over channels: [b, k, chunks, steps, N]."""
    return (x * y).sum(-1)
