"""Pairs of images of an OpenMMLab config's train set, and what its model makes of them."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from torch import nn
from torch.utils.data import Dataset

from ..corruptions.names import Corruption
from ..pairs.loading import draw
from .corrupt import corrupted
from .images import innermost, pipeline_of


class TrainImages:
    """Train images of a config, each once, read by its pipeline for testing; see
    :class:`~denoiserep_ext.pairs.loading.Images`.

    Args:
        cfg: The config.
        model: The bare model, whose preprocessor makes batches ready.
        images: How many are drawn; None for all.
        seed: Seed of the draw.

    Raises:
        ValueError: if the config has no such data.
    """

    def __init__(self, cfg: Config, model: nn.Module, images: int | None, seed: int) -> None:
        for split in ('train', 'test'):
            if 'dataset' not in (cfg.get(f'{split}_dataloader') or {}):
                raise ValueError(
                    f"noise='corruption' takes the images of the config's train_dataloader and the "
                    f'pipeline of its test_dataloader, and there is no {split}_dataloader: add it.')
        self.model, self.cfg = model, cfg
        self.pipeline = pipeline_of(cfg.test_dataloader.dataset)
        self.batch_size = cfg.test_dataloader.get('batch_size', 1)
        self.workers = cfg.test_dataloader.get('num_workers', 0)
        self.collate = pseudo_collate
        self.images = self._read(self.pipeline)
        self.order = draw(len(self.images), images, seed)

    def _read(self, pipeline: list) -> Dataset:
        dataset = self.cfg.train_dataloader.dataset
        while isinstance(dataset.get('dataset'), dict):  # wrappers repeat images, or mix them
            dataset = dataset['dataset']
        dataset = copy.deepcopy(dataset)
        for inner in innermost(dataset):
            inner['pipeline'] = pipeline
        built = DATASETS.build(dataset)
        if hasattr(built, 'full_init'):
            built.full_init()
        return built

    def worse_images(self, corruptions: Sequence[Corruption], seed: int) -> list[Dataset]:
        return [self._read(corrupted(self.pipeline, corruption, seed)) for corruption in corruptions]

    def file(self, dataset: Dataset, index: int) -> str:
        return str(dataset.get_data_info(index).get('img_path', f'image {index}'))

    def size(self, sample: dict) -> Sequence[int]:
        return sample['inputs'].shape[-2:]

    def ready(self, batch: dict) -> dict:
        data = self.model.data_preprocessor(batch, False)
        return {'inputs': data['inputs'], 'data_samples': data['data_samples']}


def judge_of(model: nn.Module) -> str:
    """How a judge compares a model's outputs: class scores as such, of segmentors at every place; the
    features of others."""
    return 'js' if _scores_classes(model) else 'feature'


def outputs_through(parts: Iterable[str]) -> Callable[[nn.Module, dict], Any]:
    """A forward for a judge, that reaches the given parts of a model.

    Args:
        parts: Their dotted names, ``''`` for the whole model.
    """
    roots = {part.split('.')[0] for part in parts}

    def outputs(model: nn.Module, batch: dict) -> Any:
        if _scores_classes(model) or roots - {'backbone', 'neck'}:
            return model(**batch, mode='tensor')
        return model.extract_feat(batch['inputs'])

    return outputs


def _scores_classes(model: nn.Module) -> bool:
    """Whether ``mode='tensor'`` gives class scores."""
    return hasattr(model, 'decode_head') or getattr(model, 'head', None) is not None
