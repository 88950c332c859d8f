"""Memory of the process and of GPUs: what is free, and what can be given back."""
from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

Batch = TypeVar('Batch')


def trim_memory() -> None:
    """Return freed memory to the system, where glibc is the allocator: blocks below 32 MB, as most
    features are, stay with the process otherwise as long as anything behind them is in use."""
    if sys.platform == 'linux':
        trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
        if trim is not None:
            trim(0)


def trimming(batches: Iterable[Batch], seconds: float = 1.0) -> Iterator[Batch]:
    """The same batches; memory that they have freed is returned to the system in between.

    Args:
        batches: What a forward is run on, one after the other.
        seconds: Between two returns, at least. Each takes milliseconds.
    """
    last = time.monotonic()
    for batch in batches:
        yield batch
        if time.monotonic() - last >= seconds:
            trim_memory()
            last = time.monotonic()


def room_on_gpu(device: torch.device) -> int:
    """Bytes that can be taken until half of a GPU's memory is in use, by this and other processes. What
    PyTorch has reserved and does not use is free."""
    free, total = torch.cuda.mem_get_info(device)
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + idle - total // 2
