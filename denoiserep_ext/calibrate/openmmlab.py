"""Calibration of classifiers, detectors and segmentors of OpenMMLab's toolboxes."""
from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset
from tqdm import tqdm

from ..core.files.export import plain_meta
from ..core.files.reading import read_checkpoint
from ..core.fit.embedding import Affine
from ..corruptions.names import Corruption
from ..datasets.folders import images_below
from ..datasets.pairs import paired_images
from ..mm.corrupt import corrupted, corrupted_dataset
from ..mm.images import (
    Unlabelled,
    for_subsets,
    innermost,
    name_of,
    pipeline_of,
    same_images,
    with_annotations,
)
from ..mm.launch import read_config
from ..mm.models import load_model
from ..mm.options import selection_of, without_denoiserep
from ..mm.scoring import main_metric, score
from .host import Host
from .images import DataOptions, choose
from .mmpretrain_folding import build_neck, fold_before_classifier_, fold_into_neck_
from .scores import Scores, mean_scores

PLACES = ('classifier', 'features')


class OpenMMLab(Host):
    """A config of MMPretrain, MMDetection or MMSegmentation, and its checkpoint.

    Args:
        config: Config, or its file; a DenoiseRepHook in it is left out, its ``layers`` and ``target``
            are kept.
        checkpoint: Plain or fused checkpoint of its model.
        data: Which images are used.
        validating: Whether validation images are needed.
        place: Where within-class noise of a classifier is taken out: ``'classifier'``, in the input of
            its last layer, free; ``'features'``, in what ``extract_feat`` returns, too.
        metric: Metric that counts; the task's usual one if None.
        parts: Parts of the validation images that are scored apart (>= 2).
        options: Overrides of the config.
        unsafe: Allow a checkpoint that can run code.

    Raises:
        FileNotFoundError: naming a file that is not there.
        ValueError: if the checkpoint is of another model, or for an unknown place.
    """

    config_suffix, unit = '.py', 'parts'

    def __init__(self, config: str | Path | Config, checkpoint: str | Path, data: DataOptions,
                 validating: bool = False, place: str = 'classifier', metric: str | None = None,
                 parts: int = 10, options: dict[str, Any] | None = None, unsafe: bool = False) -> None:
        if place not in PLACES:
            raise ValueError(f'Unknown place {place!r}: choose {" or ".join(PLACES)}.')
        cfg = Config(config.to_dict()) if isinstance(config, Config) else read_config(config)
        cfg.merge_from_dict(options or {})
        self._take_selection(cfg)
        cfg = without_denoiserep(cfg)
        self.cfg, self.place, self.metric, self.parts = cfg, place, metric, parts
        self.seed = data.seed
        self.centres = place == 'features'
        self.model = load_model(cfg, checkpoint, unsafe)
        if torch.cuda.is_available():
            self.model.cuda()
        self.meta = plain_meta(read_checkpoint(checkpoint, unsafe))
        self.collate = pseudo_collate
        self._choose_images(data, validating)
        self.remember()

    def _take_selection(self, cfg: Config) -> None:
        for hook in cfg.get('custom_hooks') or []:
            if name_of(hook) == 'DenoiseRepHook':
                self.target, self.layers = selection_of(hook)
        backbone = cfg.get('model', {}).get('backbone')
        if backbone is not None and name_of(backbone) == 'DenoiseRepBackbone':
            self.layers = backbone.get('layers', 'auto')

    def _choose_images(self, data: DataOptions, validating: bool) -> None:
        cfg = self.cfg
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        loader = cfg.get('test_dataloader') or {}
        if 'dataset' not in loader:
            raise ValueError('The config has no test_dataloader: images are read through its pipeline.')
        self.batch_size = data.batch_size or loader.get('batch_size', 1)
        self.workers = loader.get('num_workers', 0) if data.workers is None else data.workers
        pipeline = with_annotations(pipeline_of(loader.dataset))
        self.held_out = validating and same_images(cfg.get('val_dataloader'), loader)
        self._read: Callable[[list], Dataset]  # images of the pass by a pipeline
        self._pipeline, self._worse = pipeline, None
        train = None
        if data.folder is None or self.held_out:
            train = self._build(cfg.train_dataloader.dataset, pipeline)
        passing, held = choose(len(train or ()), data, self.held_out)
        if data.folder is not None:
            files = images_below(data.folder)
            if data.worse is not None:
                files, self._worse = zip(*paired_images(data.folder, data.worse))
            self._read = lambda pipeline: Unlabelled(files, pipeline)
            self.images = self._read(pipeline)
            passing, _ = choose(len(self.images), data, False)
        else:
            self._read = lambda pipeline: self._build(cfg.train_dataloader.dataset, pipeline)
            self.images = train
            embeds = hasattr(getattr(self.model, 'head', None), 'pre_logits')
            self.classes = len(train.metainfo.get('classes') or ()) if embeds else 0
        self.order = passing
        self.val: Subset | None = None
        self._val_source = cfg.train_dataloader.dataset, pipeline
        if self.held_out:
            self.val = Subset(train, held)
        elif validating:
            node = cfg.val_dataloader.dataset
            self._val_source = node, with_annotations(pipeline_of(node))
            dataset = self._build(*self._val_source)
            count = min(len(dataset), data.val_images or len(dataset))
            drawn = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(data.seed))
            self.val = Subset(dataset, drawn[:count].tolist())
        if validating and not 2 <= self.parts <= len(self.val):
            raise ValueError(f'{self.parts} parts cannot be made of {len(self.val)} validation images: '
                             f'take 2 parts at least, and no more than images.')

    def _build(self, dataset: dict, pipeline: list) -> Dataset:
        """A data set of the config, each image once, read by a pipeline for testing."""
        while isinstance(dataset.get('dataset'), dict):  # wrappers repeat images, or mix them
            dataset = dataset['dataset']
        dataset = copy.deepcopy(dataset)
        for inner in innermost(dataset):
            inner['pipeline'] = pipeline
        built = DATASETS.build(dataset)
        if hasattr(built, 'full_init'):
            built.full_init()
        return built

    @property
    def split(self) -> str:
        if self.val is None:
            return 'none'
        source = 'train images kept out of the pass' if self.held_out else "the config's validation set"
        return f'{len(self.val)} images ({source}) in {self.parts} parts'

    # Running the model

    def count(self, batch: dict) -> int:
        return len(batch['inputs'])

    def _inputs(self, batch: dict) -> dict:
        return self.model.data_preprocessor(batch, False)

    def forward(self, batch: dict) -> None:
        data = self._inputs(batch)
        if self._roots == {'backbone'}:
            self.model.backbone(data['inputs'])
        elif self._roots <= {'backbone', 'neck'}:
            self.model.extract_feat(data['inputs'])
        else:
            self.model(**data, mode='predict')

    @property
    def _roots(self) -> set[str]:
        """The model's children with selected layers; ``''`` among them for the whole model."""
        return {part.split('.')[0] for part in self.selection}

    def embed(self, batch: dict) -> tuple[Tensor, Tensor]:
        if not self.classes:
            return super().embed(batch)  # says why not
        data = self._inputs(batch)
        stage = 'pre_logits' if self.place == 'classifier' else 'neck'
        features = self.model.extract_feat(data['inputs'], stage=stage)
        features = features[-1] if isinstance(features, (tuple, list)) else features
        if features.dim() != 2:
            raise ValueError(f'within_class: embeddings of shape {tuple(features.shape)} are no '
                             f'vectors; the model needs a neck that pools them.')
        labels = [sample.gt_label for sample in data['data_samples']]
        if any(label.numel() != 1 for label in labels):
            raise ValueError('within_class needs one label per image; these have several.')
        return features.float(), torch.cat(labels)

    # Pairs of clean and worse images

    @property
    def has_worse(self) -> bool:
        return self._worse is not None

    def worse_images(self, corruptions: Sequence[Corruption], seed: int) -> list[Dataset]:
        if self.has_worse:
            return [Unlabelled(self._worse, self._pipeline)]
        return [self._read(corrupted(self._pipeline, corruption, seed)) for corruption in corruptions]

    def file(self, dataset: Dataset, index: int) -> str:
        if isinstance(dataset, Unlabelled):
            return str(dataset.paths[index])
        return str(dataset.get_data_info(index).get('img_path', f'image {index}'))

    def size(self, sample: dict) -> Sequence[int]:
        return sample['inputs'].shape[-2:]

    def ready(self, batch: dict) -> dict:
        data = self._inputs(batch)
        return {'inputs': data['inputs'], 'data_samples': data['data_samples']}

    @property
    def judge(self) -> str:
        """Class scores are compared as such, of segmentors at every place; features otherwise."""
        return 'js' if self._scores_classes else 'feature'

    def outputs(self, model: nn.Module, batch: dict) -> Any:
        if self._scores_classes or self._roots - {'backbone', 'neck'}:
            return model(**batch, mode='tensor')
        return model.extract_feat(batch['inputs'])

    @property
    def _scores_classes(self) -> bool:
        """Whether ``mode='tensor'`` gives class scores."""
        return hasattr(self.model, 'decode_head') or getattr(self.model, 'head', None) is not None

    # Folding the embedding's map

    def fold_embedding(self, affine: Affine) -> str:
        if self.place == 'classifier':
            name = fold_before_classifier_(self.model, affine)
            return f'folded into head.{name}: no cost; features stay as they were'
        neck, cost = fold_into_neck_(self.model, affine, self.cfg.model.get('neck'))
        if neck is not None:
            self._neck = neck
            self.swap('neck', build_neck(neck, affine))
        return cost

    # Scores

    def validate(self, corruption: Corruption | None = None) -> Scores:
        val = self.val if corruption is None else self._worse_val(corruption)
        edges = torch.linspace(0, len(self.val), self.parts + 1).long().tolist()
        cuts = list(zip(edges, edges[1:]))
        config = for_subsets(self.cfg.get('val_evaluator') or self.cfg.test_evaluator)
        meta = self.val.dataset.metainfo
        parts = [self._evaluate(Subset(val, range(*cut)), config, meta)
                 for cut in tqdm(cuts, desc='validating', unit='part', leave=False)]
        return mean_scores(main_metric(parts[0], self.metric), parts)

    def _worse_val(self, corruption: Corruption) -> Subset:
        node, pipeline = self._val_source
        dataset = self._build(node, corrupted(pipeline, corruption, self.seed))
        return Subset(dataset, self.val.indices)

    def test(self, corruption: Corruption | None = None) -> dict[str, float]:
        node = self.cfg.test_dataloader.dataset
        if corruption is not None:
            node = corrupted_dataset(node, corruption, self.seed)
        dataset = DATASETS.build(copy.deepcopy(node))
        return self._evaluate(dataset, self.cfg.test_evaluator, dataset.metainfo, 'testing')

    def _evaluate(self, dataset: Dataset, config: Any, meta: dict,
                  progress: str | None = None) -> dict[str, float]:
        return score([self.model], dataset, config, meta, self.batch_size, self.workers, progress)[0]

    # Files

    def checkpoint(self) -> dict[str, Any]:
        return {'state_dict': self.model.state_dict(), 'meta': self.meta}

    def write_config(self, path: Path) -> None:
        cfg = Config(self.cfg.to_dict())
        cfg.model.pop('neck', None)
        cfg.model.neck = self._neck
        path.write_text(cfg.pretty_text)  # dump would go by the name's ending
