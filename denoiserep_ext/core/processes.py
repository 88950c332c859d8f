"""The group of processes this one belongs to, if any."""
from __future__ import annotations

import os
import time
from typing import Any

import torch
from torch import distributed as dist

# Seconds. Gloo's threads free the tensors of the last collectives, for which they need Python's lock;
# destroy_process_group holds that lock while it waits for these very threads, and a rank would hang
# there now and then (seen on torch 2.5.1). While a rank sleeps the lock is free.
_SETTLE = 0.2


def several_processes() -> bool:
    """Whether there are others in the default group."""
    return dist.is_initialized() and dist.get_world_size() > 1


def process_share() -> tuple[int, int]:
    """This process's rank and how many there are, ``(0, 1)`` outside a group."""
    if dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def from_all(value: Any) -> list[Any]:
    """Every process's value, in order of rank, on each of them. Tensors should be on the CPU."""
    if not several_processes():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def join_processes() -> None:
    """Join the process group that ``torchrun`` has started this process for, if any."""
    if 'RANK' in os.environ and int(os.environ.get('WORLD_SIZE', '1')) > 1:
        dist.init_process_group('nccl' if torch.cuda.is_available() else 'gloo')
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ['LOCAL_RANK']))


def leave_processes(together: bool = True) -> None:
    """Leave the process group, if there is one.

    Args:
        together: Wait for all ranks first; not after an error, which others may not have met.
    """
    if not dist.is_initialized():
        return
    if together:
        dist.barrier()
    time.sleep(_SETTLE)
    dist.destroy_process_group()
