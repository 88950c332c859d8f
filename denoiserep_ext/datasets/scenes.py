"""Scenes of handwritten digits on textured ground, with boxes, instance masks and label maps.

What a detector or a segmentor can be trained on without any download: the digits are scikit-learn's
(see :mod:`.digits`), everything else is drawn by a seeded generator.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.checks import integer
from .digits import split_digits
from .folders import written_whole

CLASSES = tuple('0123456789')
_MIN_VISIBLE = 0.6  # share of a digit that others must leave uncovered


@dataclass(frozen=True)
class SceneConfig:
    """What the scenes look like.

    Args:
        seed: Seed of the drawing.
        size: Side of the square images in pixels (>= 64).
        train, val, test: Images per split; each split draws from its own handwritten digits.
        max_digits: Most digits per scene (>= 1); one scene in 25 has none at all.

    Raises:
        ValueError: for a value out of range.
    """

    seed: int = 0
    size: int = 128
    train: int = 400
    val: int = 80
    test: int = 160
    max_digits: int = 5

    def __post_init__(self) -> None:
        for name, least in (('seed', 0), ('size', 64), ('train', 1), ('val', 1), ('test', 1),
                            ('max_digits', 1)):
            object.__setattr__(self, name, integer(name, getattr(self, name), least))


@dataclass
class Scene:
    """One drawn image.

    Attributes:
        image: uint8 [size, size, 3], RGB.
        digits: ``(label 0..9, visible mask bool [size, size])`` of every digit.
    """

    image: np.ndarray
    digits: list[tuple[int, np.ndarray]]

    def labels(self) -> np.ndarray:
        """Label map uint8 [size, size]: 0 is ground, 1..10 are the digits 0..9."""
        labels = np.zeros(self.image.shape[:2], np.uint8)
        for label, mask in self.digits:
            labels[mask] = label + 1
        return labels


def draw_scenes(config: SceneConfig, split: str) -> Iterator[Scene]:
    """The scenes of a split, always the same ones.

    Args:
        config: What they look like.
        split: ``'train'``, ``'val'`` or ``'test'``.
    """
    source = [(label, image) for part, label, _, image in split_digits() if part == split]
    for index in range(getattr(config, split)):
        # A stream per image: more images do not change those that were there before.
        rng = np.random.default_rng([config.seed, ('train', 'val', 'test').index(split), index])
        yield _draw(rng, source, config)


def _draw(rng: np.random.Generator, source: list[tuple[int, np.ndarray]],
          config: SceneConfig) -> Scene:
    ground = _texture(rng, config.size)
    image, digits, whole = ground.copy(), [], []
    wanted = 0 if rng.random() < 0.04 else int(rng.integers(1, config.max_digits + 1))
    for _ in range(wanted):
        label, bitmap = source[rng.integers(len(source))]
        alpha = _place(rng, bitmap, config.size)
        mask = alpha > 0.5
        left = [(other, seen & ~mask) for other, seen in digits]
        if any(seen.sum() < _MIN_VISIBLE * area for (_, seen), area in zip(left, whole)):
            continue
        image += alpha[..., None] * (_ink(rng, ground[mask].mean(0)) - image)
        digits, whole = [*left, (label, mask)], [*whole, mask.sum()]
    noise = rng.normal(0, 6, image.shape)
    return Scene(np.clip(image + noise, 0, 255).astype(np.uint8), digits)


def _texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Smooth waves of random direction and colour, float [size, size, 3] in about 40..215."""
    y, x = np.mgrid[:size, :size] / size
    waves = np.zeros((size, size, 3))
    for _ in range(4):
        fx, fy = rng.uniform(-6, 6, 2)
        wave = np.sin(2 * np.pi * (fx * x + fy * y + rng.random()))
        waves += wave[..., None] * rng.uniform(-20, 20, 3)
    return rng.uniform(90, 165, 3) + waves


def _place(rng: np.random.Generator, bitmap: np.ndarray, size: int) -> np.ndarray:
    """A digit at a random place and size, opacity float [size, size] in 0..1."""
    from PIL import Image

    side = int(rng.integers(size // 5, size * 2 // 5))
    drawn = np.asarray(Image.fromarray(bitmap).resize((side, side), Image.Resampling.BICUBIC)) / 255
    top, left = rng.integers(0, size - side, 2)
    alpha = np.zeros((size, size))
    alpha[top:top + side, left:left + side] = drawn
    return alpha


def _ink(rng: np.random.Generator, ground: np.ndarray) -> np.ndarray:
    """A colour that stands out: each channel at least 70 levels from the ground's mean."""
    distance = rng.uniform(70, 90, 3)
    return np.where(rng.random(3) < 0.5, ground + distance, ground - distance)


def write_scenes(out: str | Path, config: SceneConfig | None = None) -> dict[str, int]:
    """Write the scenes for the stock data set classes of MMDetection and MMSegmentation.

    ``out/{train,val,test}/{index}.png`` are the images,
    ``out/annotations/instances_{split}.json`` their boxes and masks for ``CocoDataset`` and
    ``out/labels/{split}/{index}.png`` the label maps for ``BaseSegDataset``. ``out/scenes.json``
    holds the settings.

    Args:
        out: Folder to create. One with the same settings is left as it is.
        config: What the scenes look like.

    Returns:
        Number of digits per split.

    Raises:
        FileExistsError: if ``out`` exists and holds something else.
        ImportError: without scikit-learn or pillow.
    """
    config, out = config or SceneConfig(), Path(out)
    if out.exists():
        return _present(out, config)
    counts = {}
    with written_whole(out) as partial:
        for split in ('train', 'val', 'test'):
            counts[split] = _write_split(partial, config, split)
        (partial / 'scenes.json').write_text(json.dumps({'config': asdict(config), 'digits': counts}))
    return counts


def _present(out: Path, config: SceneConfig) -> dict[str, int]:
    note = out / 'scenes.json'
    found = json.loads(note.read_text()) if note.is_file() else None
    if found is None or found['config'] != asdict(config):
        raise FileExistsError(f'{out} exists and does not hold the scenes asked for: remove it or '
                              f'name another folder.')
    return found['digits']


def _write_split(root: Path, config: SceneConfig, split: str) -> int:
    from PIL import Image

    (root / split).mkdir()
    (root / 'labels' / split).mkdir(parents=True)
    (root / 'annotations').mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, scene in enumerate(draw_scenes(config, split)):
        name = f'{index:05d}.png'
        Image.fromarray(scene.image).save(root / split / name)
        Image.fromarray(scene.labels()).save(root / 'labels' / split / name)
        images.append({'id': index, 'file_name': name, 'width': config.size, 'height': config.size})
        for label, mask in scene.digits:
            annotations.append({'id': len(annotations) + 1, 'image_id': index, 'category_id': label,
                                **_instance(mask)})
    categories = [{'id': label, 'name': name} for label, name in enumerate(CLASSES)]
    (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(
        {'images': images, 'annotations': annotations, 'categories': categories}))
    return len(annotations)


def _instance(mask: np.ndarray) -> dict[str, Any]:
    """Box (x, y, width, height), area and run-length mask as COCO writes them."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    flat = mask.ravel(order='F')
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff([0, *turns, flat.size]).tolist()
    if flat[0]:
        runs.insert(0, 0)  # runs start with those of zeros
    return {'bbox': [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
            'area': int(mask.sum()), 'iscrowd': 0,
            'segmentation': {'counts': runs, 'size': list(mask.shape)}}
