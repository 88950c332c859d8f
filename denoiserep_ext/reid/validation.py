"""Train images as a test of their own: identities held out, queries and gallery, scores by identity."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .ranking import Embeddings, rankings


def hold_out_identities(items: Sequence[tuple], images: int | None,
                        generator: torch.Generator) -> tuple[list[tuple], list[tuple]]:
    """Part train images by identity.

    Args:
        items: ``(path, identity, camera, ...)``.
        images: How many to hold out, at least; half of the identities at most.
        generator: Draws the identities.

    Returns:
        Images that stay, and images held out.
    """
    identities = sorted({item[1] for item in items})
    order = torch.randperm(len(identities), generator=generator).tolist()
    sizes: dict[Any, int] = defaultdict(int)
    for item in items:
        sizes[item[1]] += 1
    held, count = set(), 0
    for index in order[:len(identities) // 2]:
        if images is not None and count >= images:
            break
        held.add(identities[index])
        count += sizes[identities[index]]
    return ([item for item in items if item[1] not in held],
            [item for item in items if item[1] in held])


def split_queries(items: Sequence[tuple]) -> tuple[list[tuple], list[tuple]]:
    """Make a test of train images: of each identity that several cameras have seen, a quarter of every
    camera's images are queries and all others are gallery, so that each query can be found in another
    camera.

    Returns:
        Queries and gallery.
    """
    by_identity: dict[Any, dict[Any, list[tuple]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        by_identity[item[1]][item[2]].append(item)
    numbers = {identity: i for i, identity in enumerate(sorted(by_identity))}
    cameras = {camera: i for i, camera in enumerate(sorted({item[2] for item in items}))}
    query, gallery = [], []
    for identity, shots in sorted(by_identity.items()):
        for camera, images in sorted(shots.items()):
            plain = [(item[0], numbers[identity], cameras[camera]) for item in images]
            # A single image may ask, too, if another camera's are there to be found.
            asks = max(1, len(plain) // 4) if len(plain) > 1 or camera == min(shots) else 0
            asks = asks if len(shots) > 1 else 0
            query += plain[:asks]
            gallery += plain[asks:]
    return query, gallery


def by_identity(embeddings: Embeddings, metric: str) -> np.ndarray:
    """Each identity's mean over its queries, 0..100. Queries of one identity rise and fall together, so
    it is identities that show how sure a difference is.

    Args:
        embeddings: Of queries and gallery.
        metric: ``'Rank-1'``, or average precision for any other.
    """
    values: dict[int, list[float]] = defaultdict(list)
    for ranking, identity in zip(rankings(embeddings), embeddings.identities):
        if ranking.right.any():
            values[identity].append(ranking.right[0] if metric == 'Rank-1'
                                    else ranking.average_precision)
    return np.array([100 * np.mean(values[identity]) for identity in sorted(values)])
