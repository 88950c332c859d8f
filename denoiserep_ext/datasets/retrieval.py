"""The embedded digits as a retrieval set in the layout of Market-1501."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from .digits import split_digits
from .folders import is_there_whole, written_whole

TRAIN_CLASSES = range(6)  # digits 0-5 train, 6-9 are identities never seen
QUERIES = 25  # per identity of the test
FOLDERS = ('bounding_box_train', 'query', 'bounding_box_test')
SIDE = 32  # pixels; each of the 8x8 becomes a square


def retrieval_digits() -> list[tuple[str, str, np.ndarray]]:
    """Every digit as ``(folder, file name, image)``, image uint8 [32, 32].

    A digit class is an identity, named ``class + 1`` (0 is background in Market-1501). Within each
    identity images are shared out between cameras 1 and 2 in turn, in the fixed order of
    :func:`~denoiserep_ext.datasets.digits.split_digits`; the first ones of camera 1 are queries.
    """
    counts = [0] * 10
    found = []
    for _, label, index, image in split_digits():
        camera, turn = 1 + counts[label] % 2, counts[label] // 2
        counts[label] += 1
        if label in TRAIN_CLASSES:
            folder = 'bounding_box_train'
        else:
            folder = 'query' if camera == 1 and turn < QUERIES else 'bounding_box_test'
        name = f'{label + 1:04d}_c{camera}s1_{index:06d}_00.jpg'
        found.append((folder, name, image.repeat(SIDE // 8, 0).repeat(SIDE // 8, 1)))
    return found


def write_retrieval(out: str | Path) -> dict[str, int]:
    """Write ``out/{bounding_box_train,query,bounding_box_test}/*.jpg``, what FastReID's ``Market1501``
    reads.

    Args:
        out: Folder to create. One that is there already is left as it is if it is complete.

    Returns:
        Number of images per folder.

    Raises:
        FileExistsError: if ``out`` exists and holds something else.
    """
    from PIL import Image

    out, digits = Path(out), retrieval_digits()
    counts = {folder: sum(d[0] == folder for d in digits) for folder in FOLDERS}
    if is_there_whole(out, {folder: f'{folder}/*.jpg' for folder in FOLDERS}, counts):
        return counts
    with written_whole(out) as partial:
        for folder in FOLDERS:
            (partial / folder).mkdir()
        for folder, name, image in digits:
            Image.fromarray(image).save(partial / folder / name, quality=95)
    return counts
