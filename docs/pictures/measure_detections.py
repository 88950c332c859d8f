"""The figures of the picture of detections: the first test scenes, clean and noisy, before and after.

    python -m docs.pictures.measure_detections CONFIG TRAINED DENOISED

CONFIG is a detector's of the scenes, TRAINED and DENOISED are its checkpoints.
"""
from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from denoiserep_ext.core.files.writing import write_json
from denoiserep_ext.corruptions.images import corrupt
from denoiserep_ext.corruptions.names import Corruption
from denoiserep_ext.datasets.scenes import SceneConfig, draw_scenes

OUT = Path(__file__).parent / 'figures/detections.json'
SCENES, SCORE = 3, 0.5
NOISE = Corruption('gaussian_noise', 3)


def main() -> None:
    from mmdet.apis import inference_detector, init_detector

    import denoiserep_ext.mm  # noqa: F401  (registers what a config may name)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('trained')
    parser.add_argument('denoised')
    args = parser.parse_args()
    clean = [scene.image for scene in islice(draw_scenes(SceneConfig(), 'test'), SCENES)]
    noisy = [corrupt(image, NOISE.name, NOISE.severity, seed=0) for image in clean]
    rows = {}
    for name, checkpoint, images in (('as trained, clean', args.trained, clean),
                                     (f'as trained, {NOISE}', args.trained, noisy),
                                     (f'denoised, {NOISE}', args.denoised, noisy)):
        model = init_detector(args.config, checkpoint, device='cpu')
        rows[name] = [boxes(inference_detector(model, np.ascontiguousarray(image[..., ::-1])))
                      for image in images]
    write_json({'score': SCORE, 'noise': str(NOISE), 'rows': rows}, OUT)


def boxes(result) -> list[list[float]]:
    """``[x1, y1, x2, y2, label, score]`` of every box with a score of at least ``SCORE``."""
    found = result.pred_instances.cpu().numpy()
    return [[*(round(float(x), 1) for x in box), int(label), round(float(score), 3)]
            for box, label, score in zip(found.bboxes, found.labels, found.scores) if score >= SCORE]


if __name__ == '__main__':
    main()
