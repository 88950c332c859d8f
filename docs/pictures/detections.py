"""Scenes with what a detector finds in them, before and after denoising."""
from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from denoiserep_ext.corruptions.images import corrupt
from denoiserep_ext.corruptions.names import parse
from denoiserep_ext.datasets.scenes import CLASSES, Scene, SceneConfig, draw_scenes
from denoiserep_ext.drawing import COLOURS, pyplot, save


def save_detections(figures: dict[str, Any], path: Path) -> None:
    """From the file of ``docs.pictures.measure_detections``: a row per model and kind of image."""
    plt = pyplot()
    noise = parse(figures['noise'])
    rows = figures['rows']
    scenes = list(islice(draw_scenes(SceneConfig(), 'test'), len(next(iter(rows.values())))))
    figure, axes = plt.subplots(len(rows), len(scenes), figsize=(2.3 * len(scenes), 2.45 * len(rows)),
                                squeeze=False, layout='constrained')
    for (name, found), own in zip(rows.items(), axes):
        for column, (scene, boxes, axis) in enumerate(zip(scenes, found, own)):
            image = scene.image
            if figures['noise'] in name:
                image = corrupt(image, noise.name, noise.severity, seed=0)
            axis.imshow(image)
            axis.set_xticks([])
            axis.set_yticks([])
            if column == 0:
                axis.set_ylabel(name)
            missed = draw(axis, scene, boxes)
            axis.set_xlabel(f'{len(scene.digits) - missed} of {len(scene.digits)} digits found',
                            fontsize=8)
    lines = [plt.Line2D([], [], color=COLOURS[0], label='right'),
             plt.Line2D([], [], color=COLOURS[1], linestyle='--', label='wrong')]
    figure.legend(handles=lines, loc='outside upper center', ncols=2, frameon=False,
                  title=f'boxes with a score of at least {figures["score"]}')
    save(figure, path)


def draw(axis, scene: Scene, boxes: list[list[float]]) -> int:
    """Draw the boxes; returns how many digits none of them finds."""
    left = list(scene.digits)
    for x1, y1, x2, y2, label, _ in sorted(boxes, key=lambda box: -box[5]):
        hit = next((digit for digit in left if digit[0] == label
                    and overlap((x1, y1, x2, y2), around(digit[1])) >= 0.5), None)
        left = [digit for digit in left if digit is not hit]
        colour, style = (COLOURS[1], '--') if hit is None else (COLOURS[0], '-')
        axis.add_patch(pyplot().Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=colour,
                                          linestyle=style))
        axis.text(x1, y1 - 1, CLASSES[int(label)], color='white', fontsize=7, va='bottom',
                  bbox=dict(facecolor=colour, edgecolor='none', pad=0.8))
    return len(left)


def around(mask: np.ndarray) -> tuple[float, float, float, float]:
    """The box around a mask, as corners."""
    ys, xs = np.nonzero(mask)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def overlap(one: tuple, other: tuple) -> float:
    """Intersection over union."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other))
    return width * height / (areas - width * height)
