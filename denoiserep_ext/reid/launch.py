"""FastReID's launcher, with processes on the CPU where there is no GPU."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from fastreid.engine import launch as fastreid_launch
from fastreid.utils import comm

from ..core.processes import leave_processes


def launch(main: Callable[..., Any], processes: int, machines: int = 1, rank: int = 0,
           url: str | None = None, args: tuple = ()) -> None:
    """Run ``main(*args)`` in one or several processes.

    Args:
        main: What to run, importable by name.
        processes: Processes on this machine: GPUs where there are any, else CPU processes that talk
            by gloo.
        machines: Number of machines.
        rank: This machine's number.
        url: Where processes meet.
        args: Arguments of ``main``.
    """
    if torch.cuda.is_available() or processes * machines == 1:
        fastreid_launch(main, processes, num_machines=machines, machine_rank=rank, dist_url=url,
                        args=args)
    else:
        mp.spawn(_worker, nprocs=processes, args=(main, processes, machines, rank, url, args))


def _worker(local: int, main: Callable[..., Any], processes: int, machines: int, machine: int,
            url: str, args: tuple) -> None:
    dist.init_process_group('gloo', init_method=url, world_size=processes * machines,
                            rank=machine * processes + local)
    for index in range(machines):
        group = dist.new_group(list(range(index * processes, (index + 1) * processes)))
        if index == machine:
            comm._LOCAL_PROCESS_GROUP = group
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    try:
        main(*args)
    finally:
        leave_processes(together=False)
