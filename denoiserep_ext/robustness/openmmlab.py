"""Robustness of classifiers, detectors and segmentors of OpenMMLab's toolboxes."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import Dataset, Subset

from ..corruptions.names import Corruption
from ..mm.corrupt import corrupted_dataset
from ..mm.images import for_subsets, innermost, with_annotations
from ..mm.launch import read_config
from ..mm.models import load_model
from ..mm.options import without_denoiserep
from ..mm.scoring import main_metric, score
from .host import Host, draw


class OpenMMLab(Host):
    """A config of MMPretrain, MMDetection or MMSegmentation, and checkpoints of its model.

    Args:
        config: Config, or its file, with or without DenoiseRep.
        checkpoints: Plain or fused checkpoints.
        limit: Test images to draw; None for all.
        seed: Seed of that and of the corruptions.
        metric: Metric that counts; the task's usual one if None.
        batch_size, workers: Of loading; None for the config's.
        options: Overrides of the config.
        unsafe: Allow checkpoints that can run code.

    Raises:
        FileNotFoundError: naming a file that is not there.
        ValueError: if a checkpoint is of another model, or the config tests nothing.
    """

    def __init__(self, config: str | Path | Config, checkpoints: Sequence[str | Path],
                 limit: int | None = None, seed: int = 0, metric: str | None = None,
                 batch_size: int | None = None, workers: int | None = None,
                 options: dict[str, Any] | None = None, unsafe: bool = False) -> None:
        cfg = Config(config.to_dict()) if isinstance(config, Config) else read_config(config)
        cfg.merge_from_dict(options or {})
        self.cfg = cfg = without_denoiserep(cfg)
        self.seed, self.metric = seed, metric
        loader = cfg.get('test_dataloader') or {}
        if 'dataset' not in loader or not cfg.get('test_evaluator'):
            raise ValueError('The config has no test_dataloader or no test_evaluator: there is nothing '
                             'to score.')
        self.batch_size = batch_size or loader.get('batch_size', 1)
        self.workers = loader.get('num_workers', 0) if workers is None else workers
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.models = [load_model(cfg, path, unsafe).to(device) for path in checkpoints]
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        available = len(self._build(None))
        self.drawn = draw(available, limit, seed)
        count = available if self.drawn is None else len(self.drawn)
        self.images = f'{count} of {available} test images'
        self.settings = {'model': cfg.model.to_dict(), 'dataset': loader['dataset'].to_dict(),
                         'evaluator': _plain(cfg.test_evaluator), 'images': count, 'seed': seed,
                         'preprocessor': _plain(cfg.get('data_preprocessor'))}

    def _build(self, corruption: Corruption | None) -> Dataset:
        node = self.cfg.test_dataloader.dataset.to_dict()
        if corruption is not None:
            node = corrupted_dataset(node, corruption, self.seed)
        if getattr(self, 'drawn', None) is not None:
            for inner in innermost(node):
                inner['pipeline'] = with_annotations(inner['pipeline'])
        dataset = DATASETS.build(node)
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        return dataset

    def probe(self, corruption: Corruption) -> None:
        self._build(corruption)[0]

    def score(self, models: Sequence[int], corruption: Corruption | None) -> list[dict[str, float]]:
        dataset, evaluator = self._build(corruption), self.cfg.test_evaluator
        meta = dataset.metainfo
        if self.drawn is not None:
            dataset, evaluator = Subset(dataset, self.drawn), for_subsets(evaluator)
        return score([self.models[i] for i in models], dataset, evaluator, meta, self.batch_size,
                     self.workers, str(corruption or 'clean'), leave=False)

    def main_metric(self, metrics: dict[str, float]) -> str:
        return main_metric(metrics, self.metric)


def _plain(node: Any) -> Any:
    return copy.deepcopy(node.to_dict() if hasattr(node, 'to_dict') else node)
