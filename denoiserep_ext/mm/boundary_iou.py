"""Boundary IoU for MMSegmentation."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from ..registry import METRICS


@METRICS.register_module()
class BIoUMetric(BaseMetric):
    """Mean Boundary IoU (Cheng et al., CVPR 2021), next to mmseg's ``IoUMetric``.

    The IoU of two masks' inner boundary zones, the pixels of a mask within ``d`` pixels of its
    outline; the image border counts as outline. As in the reference implementation, ``d`` is a share
    of the image diagonal (at least one pixel) and distances are those of a 3x3 erosion. Areas are
    summed over the data set per class and classes are averaged, as ``IoUMetric`` does.

    Pixels to ignore are taken out of both maps first, so the rim of an ignored region is an outline
    in both.

    Args:
        dilation_ratio: ``d`` over the image diagonal, in (0, 1).
        ignore_index: Label of pixels that do not count.
        collect_device: ``'cpu'`` or ``'gpu'``, for distributed evaluation.
        prefix: Prefix of the metric's name.

    Raises:
        ValueError: for a ratio outside (0, 1).
    """

    def __init__(self, dilation_ratio: float = 0.02, ignore_index: int = 255,
                 collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0.0 < dilation_ratio < 1.0:
            raise ValueError(f'dilation_ratio must lie in (0, 1), got {dilation_ratio!r}.')
        self.dilation_ratio, self.ignore_index = dilation_ratio, ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Note the boundary areas of each prediction.

        Args:
            data_batch: Not used.
            data_samples: With ``pred_sem_seg`` and ``gt_sem_seg``, label maps [1, H, W].
        """
        classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            predicted = sample['pred_sem_seg']['data'].squeeze(0)
            label = sample['gt_sem_seg']['data'].squeeze(0).to(predicted)
            self.results.append(boundary_areas(predicted, label, classes, self.ignore_index,
                                               self.dilation_ratio))

    def compute_metrics(self, results: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """``mBIoU`` in percent, over the classes that occur; a table by class goes to the log."""
        from prettytable import PrettyTable  # comes with mmseg

        intersection, union = (sum(areas) for areas in zip(*results))
        biou = 100 * intersection / union  # nan where a class occurs in neither map
        table = PrettyTable(['Class', 'BIoU'])
        table.add_rows([[name, f'{value:.2f}'] for name, value in
                        zip(self.dataset_meta['classes'], biou.tolist())])
        print_log(f'boundary IoU per class:\n{table}', 'current')
        return {'mBIoU': round(biou.nanmean().item(), 2)}


def boundary_areas(predicted: Tensor, label: Tensor, classes: int, ignore_index: int = 255,
                   dilation_ratio: float = 0.02) -> tuple[Tensor, Tensor]:
    """Intersection and union of the boundary zones of two label maps.

    Args:
        predicted, label: Integer label maps [H, W].
        classes: Number of classes.
        ignore_index: Value in ``label`` of pixels that do not count.
        dilation_ratio: Width of the zone over the image diagonal.

    Returns:
        Two float64 tensors [classes], in pixels.
    """
    height, width = label.shape
    distance = max(1, round(dilation_ratio * (height**2 + width**2)**0.5))
    valid = label != ignore_index
    predicted = predicted.where(valid, -1)
    label = label.where(valid, -1)
    in_predicted = _boundary(predicted, distance) & valid
    in_label = _boundary(label, distance) & valid
    hit = predicted[in_predicted & in_label & (predicted == label)]
    intersection, first, second = (_count(values, classes) for values in (
        hit, predicted[in_predicted], label[in_label]))
    return intersection, first + second - intersection


def _boundary(labels: Tensor, distance: int) -> Tensor:
    """Pixels with another label, or the outside of the image, at most ``distance`` away along both
    axes: what erosions by a 3x3 square take off every class's mask at once."""
    outside = -2.0
    padded = F.pad(labels.float()[None, None], [distance] * 4, value=outside)
    size = 2 * distance + 1
    most, least = padded, -padded
    for kernel in ((size, 1), (1, size)):
        most, least = (F.max_pool2d(x, kernel, stride=1) for x in (most, least))
    return (most != -least)[0, 0]


def _count(labels: Tensor, classes: int) -> Tensor:
    return torch.bincount(labels.long(), minlength=classes)[:classes].double().cpu()
