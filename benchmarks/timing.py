"""Calls timed in turns, on any device."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from denoiserep_ext.compare.costs import in_turns


def timed(calls: dict[str, Callable[[], Any]], repeats: int, warmup: int = 1) -> dict[str, float]:
    """Median seconds of each call, called in turns; a GPU's work is waited for."""
    if not torch.cuda.is_available():
        return in_turns(calls, repeats, warmup)

    def finished(call: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            call()
            torch.cuda.synchronize()
        return run

    return in_turns({name: finished(call) for name, call in calls.items()}, repeats, warmup)
