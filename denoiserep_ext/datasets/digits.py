"""scikit-learn's 1,797 handwritten digits (UCI Optical Recognition, CC BY 4.0) as files on disk."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .folders import is_there_whole, written_whole

SPLITS = {'train': 0.6, 'val': 0.2, 'test': 0.2}


def split_digits() -> Iterator[tuple[str, int, int, np.ndarray]]:
    """Every digit as ``(split, label, index, image)``, image uint8 [8, 8] in 0..255.

    The split is fixed for good: within each class, images are ordered by a hash of their pixels and
    cut 60 / 20 / 20, which depends on no random generator and no library version.

    Raises:
        ImportError: without scikit-learn, whose wheel carries the images.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('The digits ship with scikit-learn: pip install scikit-learn, or '
                          '"denoiserep_ext[tools]".') from error
    data = load_digits()
    images = np.round(data.images * (255 / 16)).astype(np.uint8)
    for label in range(10):
        members = sorted(np.flatnonzero(data.target == label).tolist(),
                         key=lambda i: (hashlib.sha256(images[i].tobytes()).hexdigest(), i))
        start = 0
        for split, share in SPLITS.items():
            stop = start + round(share * len(members)) if split != 'test' else len(members)
            for index in members[start:stop]:
                yield split, label, index, images[index]
            start = stop


def write_image_folder(out: str | Path) -> dict[str, int]:
    """Write ``out/{train,val,test}/{0..9}/{index}.png``, what a ``CustomDataset`` reads.

    Args:
        out: Folder to create. One that is there already is left as it is if it is complete.

    Returns:
        Number of images per split.

    Raises:
        FileExistsError: if ``out`` exists and holds something else.
    """
    from PIL import Image

    out = Path(out)
    digits = list(split_digits())
    counts = {split: sum(d[0] == split for d in digits) for split in SPLITS}
    if is_there_whole(out, {split: f'{split}/[0-9]/*.png' for split in SPLITS}, counts):
        return counts
    with written_whole(out) as partial:
        for split, label, index, image in digits:
            folder = partial / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f'{index:04d}.png')
    return counts
