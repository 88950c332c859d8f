"""Robustness of FastReID's re-identification models."""
# ruff: noqa: I001  (our FastReID adapter comes first: it makes FastReID importable)
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..reid import read_config

import torch
from fastreid.data.common import CommDataset
from fastreid.data.transforms import build_transforms
from torch import Tensor

from ..corruptions.names import Corruption
from ..reid.config import settings_of
from ..reid.corrupt import corrupted_transforms
from ..reid.datasets import check_test_items, read_dataset
from ..reid.models import load_model
from ..reid.scoring import Item, embed_images, evaluate
from .host import Host, draw

WORSE = ('queries', 'gallery', 'both')
PARTS = ('queries', 'gallery')


class FastReID(Host):
    """A FastReID config and checkpoints of its model.

    Args:
        config: Config file; with the meta-architecture ``DenoiseRep`` the inner one is taken.
        checkpoints: Plain or fused checkpoints.
        worse: What is made worse: ``'queries'``, ``'gallery'`` or ``'both'``.
        limit: Queries to draw; None for all. The gallery stays whole, or nothing could be found.
        seed: Seed of that and of the corruptions.
        metric: Metric that counts.
        batch_size, workers: Of loading; None for the config's.
        options: ``KEY VALUE ...`` overrides.

    Raises:
        FileNotFoundError: naming a file or data set that is not there.
        ValueError: if a checkpoint is of another model, or nothing can be found in a test set.

    Source: queries, gallery or both made worse as in Chen et al., *Benchmarks for Corruption Invariant
    Person Re-identification*, NeurIPS 2021, who draw a corruption and a severity for every image; here
    each corruption and severity is a test of its own.
    """

    def __init__(self, config: str | Path, checkpoints: Sequence[str | Path], worse: str = 'both',
                 limit: int | None = None, seed: int = 0, metric: str | None = None,
                 batch_size: int | None = None, workers: int | None = None,
                 options: Sequence[str] = ()) -> None:
        if worse not in WORSE:
            raise ValueError(f'Unknown part {worse!r} to make worse: choose {", ".join(WORSE)}.')
        self.cfg = cfg = read_config(config, [*options, 'MODEL.WEIGHTS', ''])
        if cfg.MODEL.META_ARCHITECTURE == 'DenoiseRep':
            cfg.MODEL.META_ARCHITECTURE = settings_of(cfg).meta_arch
        self.worse, self.seed, self.metric = worse, seed, metric
        self.batch_size = batch_size or cfg.TEST.IMS_PER_BATCH
        self.workers = cfg.DATALOADER.NUM_WORKERS if workers is None else workers
        self.tests = {name: self._read(name, limit) for name in cfg.DATASETS.TESTS}
        if not self.tests:
            raise ValueError('DATASETS.TESTS names no data set: there is nothing to score.')
        self.models = [load_model(cfg, str(path)) for path in checkpoints]
        self.images = '; '.join(
            f'{name}: {len(parts["queries"])} queries, {len(parts["gallery"])} gallery images'
            for name, parts in self.tests.items()) + f' ({worse} made worse)'
        self.settings = {'model': cfg.MODEL.dump(), 'input': cfg.INPUT.dump(), 'test': cfg.TEST.dump(),
                         'worse': worse, 'seed': seed,
                         'images': {name: {part: [Path(item[0]).name for item in items]
                                           for part, items in parts.items()}
                                    for name, parts in self.tests.items()}}
        self._clean: dict[tuple[str, str, int], Tensor] = {}  # embeddings of a part that stays clean

    def _read(self, name: str, limit: int | None) -> dict[str, list[Item]]:
        dataset = read_dataset(self.cfg, name)
        parts = {part: [tuple(item[:3]) for item in items]
                 for part, items in zip(PARTS, (dataset.query, dataset.gallery))}
        drawn = draw(len(parts['queries']), limit, self.seed)
        if drawn is not None:
            parts['queries'] = [parts['queries'][i] for i in drawn]
        check_test_items(name, parts['queries'], parts['gallery'])
        return parts

    def _made_worse(self, part: str) -> bool:
        return self.worse in (part, 'both')

    def _dataset(self, items: list[Item], corruption: Corruption | None) -> CommDataset:
        transforms = (build_transforms(self.cfg, is_train=False) if corruption is None
                      else corrupted_transforms(self.cfg, corruption, self.seed))
        return CommDataset(items, transforms, relabel=False)

    def probe(self, corruption: Corruption) -> None:
        for parts in self.tests.values():
            for part, items in parts.items():
                if self._made_worse(part):
                    try:
                        self._dataset(items, corruption)[0]
                    except ValueError as error:
                        raise ValueError(f'{items[0][0]}: {error}') from error

    def score(self, models: Sequence[int], corruption: Corruption | None) -> list[dict[str, float]]:
        metrics: list[dict[str, float]] = [{} for _ in models]
        for name, parts in self.tests.items():
            features = [self._embed(models, name, part, corruption) for part in PARTS]
            items = [*parts['queries'], *parts['gallery']]
            prefix = f'{name}/' if len(self.tests) > 1 else ''
            for own, queries, gallery in zip(metrics, *features):
                figures = evaluate(self.cfg, torch.cat((queries, gallery)), items, len(queries))
                own.update({f'{prefix}{metric}': value for metric, value in figures.items()})
        return metrics

    def _embed(self, models: Sequence[int], name: str, part: str,
               corruption: Corruption | None) -> list[Tensor]:
        if corruption is not None and self._made_worse(part):
            return self._run(models, name, part, corruption)
        missing = [i for i in models if (name, part, i) not in self._clean]
        if missing:
            for i, features in zip(missing, self._run(missing, name, part, None)):
                self._clean[name, part, i] = features
        return [self._clean[name, part, i] for i in models]

    def _run(self, models: Sequence[int], name: str, part: str,
             corruption: Corruption | None) -> list[Tensor]:
        return embed_images([self.models[i] for i in models],
                            self._dataset(self.tests[name][part], corruption), self.batch_size,
                            self.workers, f'{corruption or "clean"} {part}')

    def main_metric(self, metrics: dict[str, float]) -> str:
        if self.metric is None:
            return next(name for name in metrics if name.rpartition('/')[2] == 'mAP')
        if self.metric not in metrics:
            raise ValueError(f'FastReID reports no {self.metric!r}: {", ".join(metrics)}.')
        return self.metric
