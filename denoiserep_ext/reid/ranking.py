"""Embeddings of a test set, and what each query finds with them."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from fastreid.config import CfgNode
from fastreid.utils.compute_dist import build_dist
from tqdm import tqdm

from .models import load_model
from .trainer import Trainer


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of queries and gallery.

    Attributes:
        features: [n, D], queries first.
        identities: [n].
        cameras: [n].
        paths: n image files.
        num_query: How many of them are queries.
    """

    features: np.ndarray
    identities: np.ndarray
    cameras: np.ndarray
    paths: tuple[str, ...]
    num_query: int

    def distances(self) -> np.ndarray:
        """Cosine distances [queries, gallery], in 0..2."""
        features = torch.from_numpy(self.features)
        return build_dist(features[:self.num_query], features[self.num_query:], 'cosine')

    def same_identity(self) -> np.ndarray:
        """Whether query and gallery image show the same identity [queries, gallery]."""
        q = self.num_query
        return self.identities[:q, None] == self.identities[None, q:]

    def comparable(self) -> np.ndarray:
        """Pairs that count: all but those of one identity in one camera [queries, gallery]."""
        q = self.num_query
        return ~(self.same_identity() & (self.cameras[:q, None] == self.cameras[None, q:]))


def embed_test_set(cfg: CfgNode, weights: str, dataset: str) -> Embeddings:
    """Run a checkpoint over a data set's queries and gallery.

    Args:
        cfg: FastReID config with our keys.
        weights: Plain or fused checkpoint of its model.
        dataset: Registered data set.

    Raises:
        ValueError: if the checkpoint is of another model.
    """
    model = load_model(cfg, weights)
    loader, num_query = Trainer.build_test_loader(cfg, dataset)
    features, identities, cameras, paths = [], [], [], []
    with torch.no_grad():
        for batch in tqdm(loader, desc=weights, unit='batch'):
            features.append(model(batch).float().cpu())
            identities.append(batch['targets'].cpu())
            cameras.append(batch['camids'].cpu())
            paths += batch['img_paths']
    return Embeddings(torch.cat(features).numpy(), torch.cat(identities).numpy(),
                      torch.cat(cameras).numpy(), tuple(paths), num_query)


@dataclass(frozen=True)
class Ranking:
    """What one query finds: comparable gallery images, nearest first.

    Attributes:
        gallery: Their indices in the gallery.
        distances: Their distances.
        right: Whether each shows the query's identity.
    """

    gallery: np.ndarray
    distances: np.ndarray
    right: np.ndarray

    @property
    def average_precision(self) -> float:
        """AP of this query, nan if nothing could be found."""
        if not self.right.any():
            return float('nan')
        hits = np.flatnonzero(self.right)
        return float(np.mean(np.arange(1, len(hits) + 1) / (hits + 1)))


def rankings(embeddings: Embeddings) -> list[Ranking]:
    """The ranking of every query."""
    distances, same, comparable = (embeddings.distances(), embeddings.same_identity(),
                                   embeddings.comparable())
    indices = np.argsort(distances, axis=1)  # as FastReID's evaluator: ties fall alike
    result = []
    for query in range(embeddings.num_query):
        order = indices[query][comparable[query, indices[query]]]
        result.append(Ranking(order, distances[query, order], same[query, order]))
    return result
