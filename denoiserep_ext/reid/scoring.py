"""What FastReID's evaluator says of embeddings."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fastreid.config import CfgNode
from fastreid.data.build import fast_batch_collator
from fastreid.data.common import CommDataset
from fastreid.evaluation import ReidEvaluator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

Item = tuple[str, int, int]  # path, identity, camera


@torch.no_grad()
def embed_images(models: Sequence[nn.Module], dataset: CommDataset, batch_size: int, workers: int,
                 progress: str) -> list[Tensor]:
    """Embeddings [n, D] of a data set by models side by side, on the CPU: every image is read once for
    all of them."""
    features: list[list[Tensor]] = [[] for _ in models]
    loader = DataLoader(dataset, batch_size, collate_fn=fast_batch_collator, num_workers=workers)
    for batch in tqdm(loader, desc=progress, unit='batch', leave=False):
        for model, own in zip(models, features):
            own.append(embed_batch(model, batch).float().cpu())
    return [torch.cat(own) for own in features]


def embed_batch(model: nn.Module, batch: dict) -> Tensor:
    """Embeddings [n, D] of one batch, which stays as it is: FastReID normalises in place."""
    device = next(model.parameters()).device
    return model({'images': batch['images'].to(device, copy=True)})


def evaluate(cfg: CfgNode, features: Tensor, items: Sequence[Item], queries: int) -> dict[str, float]:
    """FastReID's metrics of embeddings.

    Args:
        cfg: FastReID config.
        features: [n, D], of the queries first.
        items: What the n images show.
        queries: How many of them are queries.
    """
    evaluator = ReidEvaluator(cfg, queries)
    _, identities, cameras = zip(*items)
    evaluator.process({'targets': torch.tensor(identities), 'camids': torch.tensor(cameras)}, features)
    return numbers(evaluator.evaluate())


def numbers(results: dict[str, Any]) -> dict[str, float]:
    """The figures among what FastReID reports."""
    return {name: float(value) for name, value in results.items() if name != 'dataset'}
