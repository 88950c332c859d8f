"""The control for models with BatchNorm: its statistics re-estimated from images made worse."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import ConcatDataset, DataLoader
from tqdm import tqdm

from ..core.fit.norms import adapt_norms_
from ..corruptions.names import Corruption
from .host import Host

BATCH = 256  # images whose statistics are taken together


def adapt(host: Host, corruptions: Sequence[Corruption], seed: int, out: Path,
          batch_size: int = BATCH) -> int:
    """Adapt a host's model to the images of its pass, made worse in all ways, and write it.

    Args:
        host: The model and its images.
        corruptions: What makes them worse; every image is taken once per corruption.
        seed: Of the corruptions and of the order.
        out: Plain checkpoint to write.
        batch_size: Images of a batch, in which all corruptions are mixed.

    Returns:
        How many layers have new statistics.

    Raises:
        ValueError, FloatingPointError: see
            :func:`~denoiserep_ext.core.fit.norms.adapt_norms_`; nothing is written then.
    """
    layers = adapt_norms_(host.model, _mixed(host, corruptions, seed, batch_size), host.outputs)
    host.save(out)
    return layers


def _mixed(host: Host, corruptions: Sequence[Corruption], seed: int, batch_size: int) -> Iterator[Any]:
    views = host.worse_images(corruptions, seed)
    every = torch.tensor([start * len(host.images) + index for start in range(len(views))
                          for index in host.order])
    order = every[torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))].tolist()
    parts = -(-len(order) // batch_size)  # of one size each, as far as that goes
    batches = [order[part::parts] for part in range(parts)]
    loader = DataLoader(ConcatDataset(views), batch_sampler=batches, collate_fn=host.collate,
                        num_workers=host.workers)
    for batch in tqdm(loader, desc='adapting BatchNorm', unit='batch', leave=False):
        yield host.ready(batch)
