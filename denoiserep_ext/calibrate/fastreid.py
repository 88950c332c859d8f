"""Calibration of FastReID's re-identification models."""
# ruff: noqa: I001  (our FastReID adapter comes first: it makes FastReID importable)
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..reid import Trainer, read_config

import numpy as np
import torch
from fastreid.data.build import fast_batch_collator
from fastreid.data.common import CommDataset
from fastreid.data.transforms import build_transforms
from fastreid.modeling.heads import EmbeddingHead
from torch import Tensor, nn

from ..core.fit.embedding import Affine
from ..corruptions.names import Corruption
from ..datasets.folders import images_below
from ..datasets.pairs import paired_images
from ..reid.config import remove_denoiserep_config, settings_of
from ..reid.corrupt import corrupted_transforms
from ..reid.datasets import check_data, check_test_items, read_dataset
from ..reid.heads import PreNeckHead
from ..reid.models import load_model
from ..reid.ranking import Embeddings
from ..reid.scoring import Item, embed_batch, embed_images, evaluate, numbers
from ..reid.validation import by_identity, hold_out_identities, split_queries
from .host import Host
from .images import DataOptions
from .scores import Scores


class FastReID(Host):
    """A FastReID config and its checkpoint.

    Args:
        config: Config file; with the meta-architecture ``DenoiseRep`` the inner one is taken.
        checkpoint: Plain or fused checkpoint of its model.
        data: Which images are used. Validation takes whole identities out of the train set.
        validating: Whether validation images are needed.
        val_dataset: Registered data set whose queries and gallery are the validation images instead.
        metric: Metric that counts.
        options: ``KEY VALUE ...`` overrides.

    Raises:
        FileNotFoundError: naming a file or data set that is not there.
        ValueError: if the checkpoint is of another model, or validation would be a test set.
    """

    config_suffix = '.yml'

    unit, new_classes, judge = 'identities', True, 'cosine'

    def __init__(self, config: str | Path, checkpoint: str | Path, data: DataOptions,
                 validating: bool = False, val_dataset: str | None = None, metric: str = 'mAP',
                 options: Sequence[str] = ()) -> None:
        cfg = read_config(config, [*options, 'MODEL.WEIGHTS', str(checkpoint)])
        settings = settings_of(cfg)
        if cfg.MODEL.META_ARCHITECTURE == 'DenoiseRep':
            cfg.MODEL.META_ARCHITECTURE = settings.meta_arch
        else:
            cfg.MODEL.DENOISEREP.META_ARCH = cfg.MODEL.META_ARCHITECTURE
        self.target, self.layers = settings_of(cfg).target, settings.config.layers
        if val_dataset in cfg.DATASETS.TESTS:
            raise ValueError(f'{val_dataset} is a test set of this config: validation and test must not '
                             f'mix. Name another one, or none to keep train identities apart.')
        if validating:
            check_data(cfg, train=False)
        self.cfg, self.metric, self.val_dataset, self.seed = cfg, metric, val_dataset, data.seed
        self.collate = fast_batch_collator
        self._choose_images(data, validating)
        self.model = load_model(cfg, str(checkpoint))
        if type(getattr(self.model, 'heads', None)) not in (EmbeddingHead, PreNeckHead):
            self.classes = 0  # no place for within-class noise
        self.remember()

    def _choose_images(self, data: DataOptions, validating: bool) -> None:
        cfg = self.cfg
        self.batch_size = data.batch_size or cfg.TEST.IMS_PER_BATCH
        self.workers = cfg.DATALOADER.NUM_WORKERS if data.workers is None else data.workers
        self.val: tuple[list[Item], int] | None = None
        train: list[Item] = []
        if data.folder is None or (validating and self.val_dataset is None):
            train = [item for name in cfg.DATASETS.NAMES for item in read_dataset(cfg, name).train]
        generator = torch.Generator().manual_seed(data.seed)
        if validating:
            if self.val_dataset is None:
                train, held = hold_out_identities(train, data.val_images, generator)
                query, gallery = split_queries(held)
                name = 'the train identities kept out of the pass'
            else:
                dataset = read_dataset(cfg, self.val_dataset)
                query, gallery, name = dataset.query, dataset.gallery, self.val_dataset
            check_test_items(name, query, gallery)
            self.val = ([tuple(item[:3]) for item in [*query, *gallery]], len(query))
        self._worse: list[Item] | None = None
        if data.folder is not None:
            files = images_below(data.folder)
            if data.worse is not None:
                files, worse = zip(*paired_images(data.folder, data.worse))
                self._worse = _unlabelled(worse)
            items = _unlabelled(files)
        else:
            identities = {pid: i for i, pid in enumerate(sorted({item[1] for item in train}))}
            items = [(item[0], identities[item[1]], 0) for item in train]
            self.classes = len(identities)
        if not items:
            raise ValueError(f'{", ".join(cfg.DATASETS.NAMES)}: no train images for the pass.')
        order = torch.randperm(len(items), generator=generator).tolist()
        self.order = order[:data.images]
        self.images = self._dataset(items)

    def _dataset(self, items: list[Item], corruption: Corruption | None = None,
                 seed: int = 0) -> CommDataset:
        transforms = (build_transforms(self.cfg, is_train=False) if corruption is None
                      else corrupted_transforms(self.cfg, corruption, seed))
        return CommDataset(items, transforms, relabel=False)

    @property
    def split(self) -> str:
        if self.val is None:
            return 'none'
        items, queries = self.val
        source = self.val_dataset or 'train identities kept out of the pass'
        return (f'{queries} queries and {len(items) - queries} gallery images of '
                f'{len({item[1] for item in items})} identities ({source})')

    # Running the model

    def count(self, batch: dict) -> int:
        return len(batch['images'])

    def forward(self, batch: dict) -> None:
        embed_batch(self.model, batch)

    def embed(self, batch: dict) -> tuple[Tensor, Tensor]:
        if not self.classes:
            self._require_head()
            return super().embed(batch)  # says why not
        return embed_batch(self.model, batch).float(), batch['targets']

    # Pairs of clean and worse images

    @property
    def has_worse(self) -> bool:
        return self._worse is not None

    def worse_images(self, corruptions: Sequence[Corruption], seed: int) -> list[CommDataset]:
        if self.has_worse:
            return [self._dataset(self._worse)]
        return [self._dataset(self.images.img_items, corruption, seed) for corruption in corruptions]

    def file(self, dataset: CommDataset, index: int) -> str:
        return dataset.img_items[index][0]

    def size(self, sample: dict) -> Sequence[int]:
        return sample['images'].shape[-2:]

    def ready(self, batch: dict) -> dict:
        return {'images': batch['images']}

    def outputs(self, model: nn.Module, batch: dict) -> Tensor:
        return embed_batch(model, batch)

    # Folding the embedding's map

    def _require_head(self) -> nn.Module:
        heads = getattr(self.model, 'heads', None)
        if type(heads) not in (EmbeddingHead, PreNeckHead):
            raise ValueError(f'within_class: {type(self.model).__name__} with '
                             f'{type(heads).__name__} has no EmbeddingHead, whose output could be '
                             f'mapped. Choose unit or relative noise.')
        return heads

    def fold_embedding(self, affine: Affine) -> str:
        heads = self._require_head()
        conv, scale, offset = _embedding_parts(heads)
        length, inputs = len(affine.offset), heads.weight.shape[1] if conv is None else conv.shape[1]
        linear = affine.weight * scale
        weight = linear if conv is None else linear @ conv.double().flatten(1)
        cfg = self.cfg.clone()
        cfg.MODEL.HEADS.NAME, cfg.MODEL.HEADS.WITH_BNNECK = 'EmbeddingHead', True
        cfg.MODEL.HEADS.EMBEDDING_DIM, cfg.MODEL.HEADS.NUM_CLASSES = length, len(heads.weight)
        new = EmbeddingHead(cfg)
        new.pool_layer = heads.pool_layer
        new.weight.data.copy_(heads.weight)
        neck, norm = new.bottleneck
        neck.weight.data.copy_(weight[..., None, None])
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0)
        norm.weight.data.fill_((1.0 + norm.eps)**0.5)
        norm.bias.data.copy_(affine.weight @ offset + affine.offset)
        stays = type(heads) is EmbeddingHead and conv is not None and len(heads.bottleneck) == 2
        self._head_cfg = cfg
        self.swap('heads', new)
        if stays:
            self._same_structure.add('heads')
            return 'folded into the embedding layer and its BNNeck: no cost'
        return (f'a layer of {length} x {inputs} before the BNNeck: {length * inputs / 1e6:.2f} M more '
                f'multiplications per image (MODEL.HEADS.EMBEDDING_DIM {length}, WITH_BNNECK True)')

    # Scores

    def validate(self, corruption: Corruption | None = None) -> Scores:
        items, queries = self.val
        metrics, embeddings = self._evaluate(items, queries, corruption)
        if self.metric not in metrics:
            raise ValueError(f'FastReID reports no {self.metric!r}: {", ".join(metrics)}.')
        return Scores(self.metric, metrics[self.metric], by_identity(embeddings, self.metric), metrics)

    def _evaluate(self, items: list[Item], queries: int, corruption: Corruption | None = None
                  ) -> tuple[dict[str, float], Embeddings]:
        """Queries and gallery both made worse, if any."""
        features, = embed_images([self.model], self._dataset(items, corruption, self.seed),
                                 self.batch_size, self.workers, 'scoring')
        paths, identities, cameras = zip(*items)
        embeddings = Embeddings(features.numpy(), np.array(identities), np.array(cameras), paths,
                                queries)
        return evaluate(self.cfg, features, items, queries), embeddings

    def test(self, corruption: Corruption | None = None) -> dict[str, float]:
        names = self.cfg.DATASETS.TESTS
        if corruption is None:
            results = Trainer.test(self.cfg, self.model)
            results = {names[0]: results} if len(names) == 1 else results
        else:
            results = {name: self._test_worse(name, corruption) for name in names}
        return {f'{name}/{metric}' if len(names) > 1 else metric: value
                for name, result in results.items() for metric, value in numbers(result).items()}

    def _test_worse(self, name: str, corruption: Corruption) -> dict[str, float]:
        dataset = read_dataset(self.cfg, name)
        items = [tuple(item[:3]) for item in [*dataset.query, *dataset.gallery]]
        return self._evaluate(items, len(dataset.query), corruption)[0]

    # Files

    def checkpoint(self) -> dict[str, Any]:
        return {'model': self.model.state_dict()}

    def write_config(self, path: Path) -> None:
        cfg = self._head_cfg.clone()
        cfg.defrost()
        cfg.MODEL.WEIGHTS = ''
        path.write_text(remove_denoiserep_config(cfg).dump())


def _unlabelled(files: Iterable[Path]) -> list[Item]:
    return [(str(path), 0, 0) for path in files]


def _embedding_parts(heads: nn.Module) -> tuple[Tensor | None, Tensor, Tensor]:
    """The weight of a head's embedding layer (None if it has none) and the scale and offset of what
    follows it in evaluation, float64."""
    conv = norm = None
    for layer in heads.bottleneck:
        if isinstance(layer, nn.Conv2d):
            conv = layer.weight.detach()
        else:
            norm = layer
    length = heads.weight.shape[1]
    wide = {'dtype': torch.float64, 'device': heads.weight.device}
    if norm is None or type(heads) is PreNeckHead:
        return conv, torch.ones(length, **wide), torch.zeros(length, **wide)
    scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return conv, scale, norm.bias.detach().double() - scale * norm.running_mean.double()
