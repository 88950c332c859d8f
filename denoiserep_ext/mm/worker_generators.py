"""Random generators of loading processes that live as long as the run (``persistent_workers``)."""
from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, get_worker_info

from .generator_states import restore_, states

_ROOM = 1 << 15  # bytes per process; states take about 14,000
_LENGTH = 4  # bytes in front of them that say how many


class Workers:
    """What a loader's processes have drawn, in memory they share with this one."""

    def __init__(self, count: int) -> None:
        self.rows = torch.zeros(count, _ROOM, dtype=torch.uint8).share_memory_()

    @classmethod
    def watch(cls, loader: DataLoader, saved: Sequence[dict | None] | None) -> Workers | None:
        """Have a loader's processes note their states with every batch.

        Args:
            loader: Not iterated over yet.
            saved: States to start from, by process.

        Returns:
            None where processes start anew with every epoch: they are seeded alike then.
        """
        if not (loader.num_workers and loader.persistent_workers):
            return None
        watched = cls(loader.num_workers)
        # Where processes are started, a seed is drawn for them: a resumed run starts them later.
        loader.generator = loader.generator or torch.Generator().manual_seed(torch.initial_seed())
        loader.collate_fn = _Noting(loader.collate_fn, watched)
        if saved is not None and len(saved) == loader.num_workers:
            loader.worker_init_fn = _Restoring(loader.worker_init_fn, saved)
        return watched

    def note(self, worker: int) -> None:
        """Called in a loading process."""
        data = pickle.dumps(states())
        whole = len(data).to_bytes(_LENGTH, 'little') + data
        self.rows[worker, :len(whole)] = torch.frombuffer(bytearray(whole), dtype=torch.uint8)

    def states(self) -> list[dict | None]:
        """By process; None where it has loaded nothing yet. Only between epochs: within one, processes
        are ahead of the training."""
        found = []
        for row in self.rows.numpy():
            length = int.from_bytes(row[:_LENGTH].tobytes(), 'little')
            found.append(pickle.loads(row[_LENGTH:_LENGTH + length].tobytes()) if length else None)
        return found


class _Noting:
    """A ``collate_fn``, with a note."""

    def __init__(self, collate: Callable, watched: Workers) -> None:
        self.collate, self.watched = collate, watched

    def __call__(self, samples: Sequence[Any]) -> Any:
        batch = self.collate(samples)
        worker = get_worker_info()
        if worker is not None:
            self.watched.note(worker.id)
        return batch


class _Restoring:
    """A ``worker_init_fn``, with saved states at its end."""

    def __init__(self, start: Callable | None, saved: Sequence[dict | None]) -> None:
        self.start, self.saved = start, saved

    def __call__(self, worker: int) -> None:
        if self.start is not None:
            self.start(worker)
        if self.saved[worker] is not None:
            restore_(self.saved[worker])
