"""The images of an OpenMMLab config: its data sets as nodes of the config, and any folder."""
from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import Compose
from torch.utils.data import Dataset

_DOWNLOADED = ('CIFAR10', 'CIFAR100', 'MNIST', 'FashionMNIST')  # by the toolbox


class Unlabelled(Dataset):
    """Image files, read by a pipeline without its annotations.

    Args:
        paths: The files.
        pipeline: Transforms of the config.
    """

    def __init__(self, paths: Sequence[Path], pipeline: Sequence[dict]) -> None:
        self.paths = paths
        self.pipeline = Compose([t for t in pipeline if 'LoadAnnotations' not in name_of(t)])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict:
        return self.pipeline({'img_path': str(self.paths[index]), 'img_id': index, 'instances': [],
                              'seg_fields': [], 'reduce_zero_label': False})


def name_of(node: dict) -> str:
    """What a node of a config builds, without its scope."""
    return str(node.get('type')).rpartition('.')[2]


def innermost(dataset: dict) -> Iterator[dict]:
    """The data sets that read images, below any wrappers."""
    if 'datasets' in dataset:
        for inner in dataset['datasets']:
            yield from innermost(inner)
    elif isinstance(dataset.get('dataset'), dict):
        yield from innermost(dataset['dataset'])
    else:
        yield dataset


def missing_folders(loader: dict | None) -> Iterator[str]:
    """``data_root`` of a loader's data sets that are not there. Those of other file systems, and of data
    sets that are downloaded or name their files by absolute paths, need not be."""
    for dataset in innermost(loader['dataset']) if loader else ():
        root, prefix = dataset.get('data_root'), dataset.get('data_prefix')
        files = [dataset.get('ann_file'), *(prefix.values() if isinstance(prefix, dict) else [prefix])]
        needed = root and '://' not in root and not dataset.get('backend_args') and not (
            name_of(dataset) in _DOWNLOADED
            or any(str(file).startswith('/') for file in files))
        if needed and not Path(root).is_dir():
            yield root


def pipeline_of(dataset: dict) -> list[dict]:
    return next(innermost(dataset))['pipeline']


def with_annotations(pipeline: Sequence[dict]) -> list[dict]:
    """A pipeline whose samples carry what CocoMetric evaluates parts of a data set by."""
    pipeline = copy.deepcopy(list(pipeline))
    for transform in pipeline:
        if name_of(transform) == 'PackDetInputs':
            keys = transform.get('meta_keys', ('img_id', 'img_path', 'ori_shape', 'img_shape',
                                               'scale_factor', 'flip', 'flip_direction'))
            transform['meta_keys'] = (*keys, 'instances')
    return pipeline


def for_subsets(evaluator: Any) -> Any:
    """An evaluator that looks at the images it is given only: COCO's would miss all the others."""
    if isinstance(evaluator, dict):
        evaluator = copy.deepcopy(evaluator)
        if name_of(evaluator) == 'CocoMetric':
            evaluator['ann_file'] = None
        return evaluator
    return [for_subsets(each) for each in evaluator]


def same_images(val: dict | None, test: dict) -> bool:
    """Whether validation and test images are the same ones (or there is no validation set)."""
    if not val:
        return True
    bare = [{key: value for key, value in next(innermost(part['dataset'])).items() if key != 'pipeline'}
            for part in (val, test)]
    return bare[0] == bare[1]
