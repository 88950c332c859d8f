"""Pictures of a retrieval model before and after denoising."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.files.writing import parked
from .ranking import Embeddings, rankings

RIGHT, WRONG = '#1a9641', '#d7191c'


def save_rank_lists(before: Embeddings, after: Embeddings, queries: Sequence[int], path: Path,
                    top: int = 8) -> None:
    """Queries with their nearest images, right ones framed green, wrong ones red; a row before, a row
    after.

    Args:
        before: Embeddings of the model before.
        after: Of the one after, on the same images.
        queries: Which queries.
        path: Picture to write.
        top: Matches per query.
    """
    from PIL import Image
    plt = _pyplot()

    models = [(name, emb, rankings(emb)) for name, emb in (('before', before), ('after', after))]
    rows = [(query, name, emb, ranks[query]) for query in queries for name, emb, ranks in models]
    width, height = Image.open(before.paths[0]).size
    size = 1.3 * (top + 1), (1.3 * height / width + 0.35) * len(rows)
    figure, axes = plt.subplots(len(rows), top + 1, figsize=size, squeeze=False, layout='constrained')
    for line, (query, name, emb, ranking) in zip(axes, rows):
        for cell in line:
            cell.set_xticks([]), cell.set_yticks([])
            cell.spines[:].set_visible(False)
        line[0].imshow(Image.open(emb.paths[query]).convert('RGB'))
        line[0].set_ylabel(f'query {query}\n{name}', fontsize=8)
        line[0].set_title(f'AP {ranking.average_precision:.3f}', fontsize=8)
        for cell, found, distance, right in zip(line[1:], ranking.gallery, ranking.distances,
                                                ranking.right):
            cell.imshow(Image.open(emb.paths[emb.num_query + found]).convert('RGB'))
            cell.set_title(f'{distance:.3f}', fontsize=8)
            cell.spines[:].set(visible=True, color=RIGHT if right else WRONG, linewidth=3)
    _save(figure, path)


def save_distances(before: Embeddings, after: Embeddings, path: Path) -> dict[str, float]:
    """Histograms of the distances of queries to images of the same and of different identities.

    Args:
        before: Embeddings of the model before.
        after: Of the one after, on the same images.
        path: Picture to write.

    Returns:
        By ``'before'`` and ``'after'``, the chance that a same pair is nearer than a different one
        (area under the ROC curve).
    """
    from sklearn.metrics import roc_auc_score
    plt = _pyplot()

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout='constrained')
    areas = {}
    pairs = {name: _pairs(emb) for name, emb in (('before', before), ('after', after))}
    edges = np.linspace(0, max(float(d.max()) for d, _ in pairs.values()), 60)
    for cell, (name, (distances, same)) in zip(axes, pairs.items()):
        areas[name] = float(roc_auc_score(same, -distances))
        cell.hist(distances[same], edges, density=True, alpha=0.6, color=RIGHT, label='same identity')
        cell.hist(distances[~same], edges, density=True, alpha=0.6, color=WRONG,
                  label='different identities')
        cell.set_title(f'{name}: same pair nearer with probability {areas[name]:.4f}', fontsize=10)
        cell.set_xlabel('cosine distance')
    axes[0].set_ylabel('density')
    axes[0].legend()
    _save(figure, path)
    return areas


def _pairs(embeddings: Embeddings) -> tuple[np.ndarray, np.ndarray]:
    mask = embeddings.comparable()
    return embeddings.distances()[mask], embeddings.same_identity()[mask]


def _pyplot():
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    return pyplot


def _save(figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with parked(path) as partial:
        figure.savefig(partial, dpi=110, format=path.suffix[1:])
    _pyplot().close(figure)
