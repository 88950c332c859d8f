"""Ways to make images worse: uint8 [N, H, W, 3] and a seed in, images of the same shape out."""
from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from denoiserep_ext import corruptions

Worsen = Callable[[np.ndarray, int], np.ndarray]


def _gaussian(pixels: np.ndarray, seed: int, sd: float = 20) -> np.ndarray:
    return _pixels(pixels + np.random.default_rng(seed).normal(0, sd, pixels.shape))


def _jpeg(pixels: np.ndarray, _seed: int) -> np.ndarray:
    return _each(pixels, _through_jpeg)


def _through_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=20)
    return Image.open(file)


def _blur(pixels: np.ndarray, _seed: int) -> np.ndarray:
    return _each(pixels, lambda image: image.filter(ImageFilter.GaussianBlur(1)))


def _contrast(pixels: np.ndarray, _seed: int) -> np.ndarray:
    mean = pixels.mean((1, 2, 3), keepdims=True)
    return _pixels(mean + 0.3 * (pixels - mean))


def _dark(pixels: np.ndarray, _seed: int) -> np.ndarray:
    return _pixels(0.3 * pixels)


NOISES: dict[str, Worsen] = {'Gaussian, sd 20': _gaussian, 'JPEG, quality 20': _jpeg,
                             'blur, radius 1': _blur, 'contrast x 0.3': _contrast,
                             'darkness x 0.3': _dark,
                             'Gaussian, sd 50': partial(_gaussian, sd=50)}
LADDER = tuple(NOISES)[:4]
MIXTURE = ('Gaussian, sd 20', 'JPEG, quality 20', 'blur, radius 1', 'darkness x 0.3')


def worsener(name: str) -> Worsen:
    """One of ``NOISES`` (strengths in grey levels and pixels), or an ImageNet-C style corruption,
    ``'fog@2'``."""
    if name in NOISES:
        return NOISES[name]
    corruption = corruptions.parse(name)
    return lambda pixels, seed: np.stack([
        corruptions.corrupt(image, corruption.name, corruption.severity, seed) for image in pixels])


def _pixels(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)


def _each(pixels: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels])
