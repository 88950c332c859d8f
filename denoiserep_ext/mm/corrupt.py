"""Images made worse in the pipelines of MMPretrain, MMDetection and MMSegmentation."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..corruptions.images import corrupt
from ..corruptions.names import Corruption, parse
from ..registry import TRANSFORMS
from .images import innermost, name_of

ORDERS = ('bgr', 'rgb')


@TRANSFORMS.register_module()
class Corrupt:
    """Make ``results['img']`` worse, as a camera or a codec does: put it right behind the transform
    that loads images, before any resizing.

    An image is made worse the same way each time, see
    :func:`~denoiserep_ext.corruptions.images.corrupt`; boxes, masks and sizes stay as they are.

    Args:
        corruption: Name, or ``NAME@SEVERITY``.
        severity: 1 to 5.
        seed: Seed of what is drawn.
        channel_order: Of colour images here: ``'bgr'`` as OpenMMLab loads files, ``'rgb'`` for data
            sets that hold arrays (MMPretrain's ``CIFAR10``).

    Raises:
        ValueError: for an unknown corruption, severity or order; later, for what is no image or one too
            small, with its file.
        ImportError: without ``imagecorruptions-imaug``, when the first image comes.
    """

    def __init__(self, corruption: str, severity: int | None = None, seed: int = 0,
                 channel_order: str = 'bgr') -> None:
        if channel_order not in ORDERS:
            raise ValueError(f'Unknown channel_order {channel_order!r}: choose {" or ".join(ORDERS)}.')
        self.corruption = parse(corruption, severity)
        self.seed, self.channel_order = seed, channel_order

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        if 'img' not in results:
            raise ValueError('Corrupt found no image: put it behind the transform that loads one.')
        try:
            results['img'] = self._worse(results['img'])
        except ValueError as error:
            raise ValueError(f'{results.get("img_path", "image")}: {error}') from error
        return results

    def _worse(self, image: np.ndarray) -> np.ndarray:
        pixels = _as_uint8(image)
        swaps = self.channel_order == 'bgr' and pixels.ndim == 3 and pixels.shape[2] == 3
        rgb = pixels[..., ::-1] if swaps else pixels
        worse = corrupt(rgb, self.corruption.name, self.corruption.severity, self.seed)
        worse = worse[..., ::-1] if swaps else worse
        return np.ascontiguousarray(worse, dtype=image.dtype)

    def __repr__(self) -> str:
        return (f'Corrupt({str(self.corruption)!r}, seed={self.seed}, '
                f'channel_order={self.channel_order!r})')


def _as_uint8(image: np.ndarray) -> np.ndarray:
    """Loaders may give whole numbers of 0..255 as floats."""
    if image.dtype == np.uint8 or not np.issubdtype(image.dtype, np.floating):
        return image
    if not (image.min() >= 0 and image.max() <= 255):  # NaN, too
        raise ValueError('pixels are outside 0..255: Corrupt belongs before any normalisation.')
    return image.round().astype(np.uint8)


def behind_loading(pipeline: Sequence[dict], *transforms: dict) -> list[dict]:
    """A pipeline with transforms put right behind the one that loads images (``LoadImage...``), or
    first where the data set itself holds them."""
    pipeline = copy.deepcopy(list(pipeline))
    place = _loader(pipeline) + 1
    pipeline[place:place] = copy.deepcopy(list(transforms))
    return pipeline


def _loader(pipeline: Sequence[dict]) -> int:
    return next((i for i, t in enumerate(pipeline) if name_of(t).startswith('LoadImage')), -1)


def corrupted(pipeline: Sequence[dict], corruption: Corruption, seed: int = 0) -> list[dict]:
    """A pipeline whose images are made worse right behind loading."""
    order = 'bgr' if _loader(pipeline) >= 0 else 'rgb'
    return behind_loading(pipeline, dict(
        type='denoiserep_ext.Corrupt', corruption=corruption.name, severity=corruption.severity,
        seed=seed, channel_order=order))


def corrupted_dataset(dataset: dict, corruption: Corruption, seed: int = 0) -> dict:
    """A data set of a config, wrappers included, whose images are made worse.

    Raises:
        ValueError: if one of its data sets has no pipeline.
    """
    dataset = copy.deepcopy(dataset)
    for inner in innermost(dataset):
        if not inner.get('pipeline'):
            raise ValueError(f'{name_of(inner)} has no pipeline, so its images cannot be made worse.')
        inner['pipeline'] = corrupted(inner['pipeline'], corruption, seed)
    return dataset
