"""Calls timed in turns, on any device and in any precision."""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from denoiserep_ext.compare.costs import in_turns

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'  # CUDA_VISIBLE_DEVICES= leaves the CPU
PRECISIONS = ('none', 'float16', 'bfloat16')


def timed(calls: dict[str, Callable[[], Any]], repeats: int, warmup: int = 1) -> dict[str, float]:
    """Median seconds of each call, called in turns; a GPU's work is waited for."""

    def finished(call: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            call()
            now()
        return run

    return in_turns({name: finished(call) for name, call in calls.items()}, repeats, warmup)


def now() -> float:
    """Seconds of a clock, once a GPU has done what it was given."""
    if DEVICE == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter()


def autocast(amp: str) -> torch.autocast:
    """Mixed precision of one of :data:`PRECISIONS`; a decorator, too."""
    dtype = torch.bfloat16 if amp == 'none' else getattr(torch, amp)
    return torch.autocast(DEVICE, dtype, enabled=amp != 'none')
