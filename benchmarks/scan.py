"""VMamba's selective scan against a plain loop over its steps: time, peak memory, growth with length.

Shapes are those of VMamba-T's first stage at 224 px: 56 x 56 tokens, four directions of 96 channels, one
state each. Peaks are of processes of their own.
"""
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from denoiserep_ext.models.selective_scan import selective_scan, stepwise_scan

from .memory import peak_resident
from .timing import DEVICE, now, timed

DIRECTIONS, CHANNELS, STATES = 4, 96, 1
LENGTHS = (784, 1568, 3136, 6272, 12544)


def unbound_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
                 delta_bias: Tensor) -> Tensor:
    """The loop again, over tensors taken apart beforehand: its backward pass is linear in the length,
    where that of indexing fills a whole sequence with zeros at every step."""
    step = F.softplus(delta + delta_bias[:, None])
    decay = torch.exp(step.unsqueeze(-1) * A[:, None])
    inflow = (step * u).unsqueeze(-1) * B.unsqueeze(-2)
    h, read = 0.0, []
    for a, x, c in zip(decay.unbind(2), inflow.unbind(2), C.unbind(2)):
        h = a * h + x
        read.append((h * c.unsqueeze(-2)).sum(-1))
    return torch.stack(read, dim=2) + D[:, None] * u


VARIANTS: dict[str, Callable[..., Tensor]] = {
    'chunked': lambda *x: selective_scan(*x, backend='chunked'),
    'loop': stepwise_scan,
    'loop, unbound': unbound_scan,
}
if DEVICE == 'cuda' and find_spec('triton'):
    VARIANTS['triton'] = lambda *x: selective_scan(*x, backend='triton')


def arguments(batch: int, length: int, grad: bool) -> list[Tensor]:
    """Random arguments of a scan."""
    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, device=DEVICE)

    K, C, N = DIRECTIONS, CHANNELS, STATES
    values = [normal(batch, K, length, C), normal(batch, K, length, C), -normal(K, C, N).exp(),
              normal(batch, K, length, N), normal(batch, K, length, N), normal(K, C), normal(K, C)]
    return [x.requires_grad_(grad) for x in values]


def forward(variant: str, batch: int, length: int) -> Callable[[], Any]:
    """A call without gradients."""
    values = arguments(batch, length, grad=False)
    return torch.no_grad()(lambda: VARIANTS[variant](*values))


def training(variant: str, batch: int, length: int) -> Callable[[], Any]:
    """A call with all gradients."""
    values = arguments(batch, length, grad=True)
    return lambda: torch.autograd.grad(VARIANTS[variant](*values).sum(), values)


def run(batch: int, repeats: int, variants: Sequence[str], length: int = 3136) -> list[dict[str, Any]]:
    """Times of each variant and over the chunked one's, and peaks in MB.

    The loop's backward pass takes minutes: its only run is the one whose peak is measured.
    """
    ahead = timed({name: forward(name, batch, length) for name in variants}, repeats)
    short = [name for name in variants if name != 'loop']
    both = timed({name: training(name, batch, length) for name in short}, repeats)
    peaks = {name: (single(name, 'forward', batch, length), single(name, 'training', batch, length))
             for name in variants}
    if 'loop' in variants:
        both['loop'] = peaks['loop'][1]['seconds']
    return [{'variant': name, 'tokens': length, 'batch size': batch,
             'forward s': ahead[name], 'over chunked': ahead[name] / ahead['chunked'],
             'and backward s': both[name], 'over chunked ': both[name] / both['chunked'],
             'forward MB': peaks[name][0]['peak'], 'and backward MB': peaks[name][1]['peak']}
            for name in variants]


def growth(batch: int, repeats: int) -> list[dict[str, Any]]:
    """Time per token of the chunked scan by length, over that of the shortest."""
    rows = []
    for length in LENGTHS:
        row = {'tokens': length, 'batch size': batch}
        for name, make in (('forward', forward), ('and backward', training)):
            row[f'{name} us / token'] = 1e6 * timed({name: make('chunked', batch, length)},
                                                    repeats)[name] / length
        rows.append(row)
    return rows


def single(variant: str, mode: str, batch: int, length: int) -> dict[str, float]:
    """One call in a process of its own: its seconds, and the MB it adds to its arguments."""
    output = subprocess.run(
        [sys.executable, '-m', 'benchmarks.scan', variant, mode, str(batch), str(length)], check=True,
        capture_output=True, text=True, cwd=Path(__file__).parents[1]).stdout
    return json.loads(output.splitlines()[-1])


def main(variant: str, mode: str, batch: str, length: str) -> None:
    """Make one call and print its figures."""
    make = {'forward': forward, 'training': training}[mode]
    make(variant, 1, 16)()
    call = make(variant, int(batch), int(length))
    gpu = DEVICE == 'cuda'
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if gpu else peak_resident()
    start = now()
    call()
    seconds = now() - start
    after = torch.cuda.max_memory_allocated() if gpu else peak_resident()
    print(json.dumps({'peak': (after - before) / 1e6, 'seconds': seconds}))


if __name__ == '__main__':
    main(*sys.argv[1:])
