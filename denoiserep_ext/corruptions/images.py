"""One image made worse, the same way each time."""
from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .names import Corruption

LEAST_SIDE = 32  # pixels that the library asks for; what works pixel by pixel takes any size
_LEAST_SIDES = {
    **dict.fromkeys(('gaussian_noise', 'shot_noise', 'impulse_noise', 'speckle_noise', 'brightness',
                     'contrast', 'saturate', 'jpeg_compression'), 1),
    'pixelate': 4,  # a quarter of a side has to be a pixel
}
_SEEDED = ('impulse_noise', 'glass_blur')  # draw from generators of their own

_lock = threading.Lock()


def corrupt(image: NDArray[np.uint8], name: str, severity: int, seed: int = 0) -> NDArray[np.uint8]:
    """Make an image worse.

    What is drawn depends on ``seed``, the name and the image's pixels alone: on no generator, file
    name, order or host; all severities of a corruption draw the same for an image. NumPy's global
    generator is left as it was.

    Sizes of blurs and flakes are in pixels, chosen by the authors for photographs of about 224 px; the
    smaller the image, the stronger they are.

    Args:
        image: RGB [H, W, 3] in 0..255, or grey [H, W] or [H, W, 1].
        name: One of :data:`~denoiserep_ext.corruptions.names.ALL`.
        severity: 1 to 5.
        seed: Non-negative integer.

    Returns:
        An image of the same shape.

    Raises:
        ValueError: for another kind of image, one too small for the corruption, or an unknown name.
        ImportError: without ``imagecorruptions-imaug``.

    Source: Hendrycks and Dietterich, ICLR 2019, by their own code as ``imagecorruptions-imaug`` keeps
    it running. ImageNet-C itself is a set of files, made from images that were cropped before.
    """
    _check(image, name, severity)
    grey = image.ndim == 2 or image.shape[2] == 1
    # A grey image is three equal channels, of which one is read: their mean would be less noisy.
    colour = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) if grey else image
    worse = _drawn(colour, name, severity, _seed_of(colour, name, seed))
    if not np.isfinite(worse).all():
        worse = np.where(np.isfinite(worse), worse, colour)  # spatter without a single drop
    worse = worse.astype(np.uint8)  # cut off, as the authors do
    return worse[..., 1].reshape(image.shape) if grey else worse


def least_side(name: str) -> int:
    """Pixels that an image must have in either direction."""
    return _LEAST_SIDES.get(name, LEAST_SIDE)


def _check(image: np.ndarray, name: str, severity: int) -> None:
    Corruption(name, severity)
    shape = getattr(image, 'shape', ())
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or not (
            len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))):
        kind = f'{image.dtype} {list(shape)}' if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f'{name}: images must be uint8 arrays [height, width, 3] or [height, width], '
                         f'got {kind}.')
    least = least_side(name)
    if min(shape[:2]) < least:
        raise ValueError(f'{name} needs images of at least {least} x {least} px, and this one has '
                         f'{shape[1]} x {shape[0]}: take a corruption that works pixel by pixel '
                         f'({", ".join(_LEAST_SIDES)}), or enlarge images before.')


def _seed_of(image: np.ndarray, name: str, seed: int) -> int:
    digest = hashlib.blake2b(f'{seed}/{name}/{image.shape}/'.encode(), digest_size=4)
    digest.update(np.ascontiguousarray(image))
    return int.from_bytes(digest.digest(), 'little')


def _drawn(image: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """The library's result, float, from its global generator set and put back."""
    from PIL import Image
    function = _library()[name]
    options = {'seed': seed} if name in _SEEDED else {}
    picture = Image.fromarray(image)
    with _lock, np.errstate(invalid='ignore'):
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            return np.asarray(function(picture, severity, **options))
        finally:
            np.random.set_state(state)


@cache
def _library() -> dict[str, Callable]:
    try:
        from imagecorruptions import corruption_dict
    except Exception as error:
        raise ImportError(
            f'Corruptions need imagecorruptions-imaug, which cannot be imported ({error}): pip install '
            f'denoiserep_ext[corruptions], or bash tools/install.sh. (The older package '
            f'imagecorruptions has the same module and does not run on present NumPy.)') from error
    return corruption_dict
