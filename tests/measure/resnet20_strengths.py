"""CIFAR-10 ResNet-20, label-free, fused at several strengths: accuracy on the test part.

Moments come from one pass over the train part, from which every strength is solved; nothing is tuned
or selected. Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.resnet20_strengths
"""
from __future__ import annotations

import copy
import os
from pathlib import Path

import torch
from tqdm import tqdm

from denoiserep_ext import DenoiseRepConfig, convert_
from denoiserep_ext.core.one_pass import observing
from tests.measure.cifar import accuracy, load_images, load_resnet20
from tests.measure.strengths import denoised

STRIDES = {'reverse': (0, 1, 5, 25, 50), 'posterior': (0, 1, 2, 5, 10, 25, 50)}


@torch.no_grad()
def main() -> None:
    data = Path(os.environ['DENOISEREP_TEST_DATA'])
    model = load_resnet20(data)
    train, _ = load_images(data, 'train')
    test, labels = load_images(data, 'test')
    print(f'plain: {accuracy(model, test, labels):.4f} on {len(labels)} test images, moments from '
          f'{len(train)} train images')
    observed = copy.deepcopy(model)
    convert_(observed)
    with observing(observed) as moments:
        for batch in tqdm(train.split(256), desc='moments'):
            observed(batch)
    print(f'{"update":<10} {"noise":<9} {"stride":>6} {"steps":>8} {"|W1-W|/|W|":>11} {"accuracy":>9}')
    for update, strides in STRIDES.items():
        for noise in ('unit', 'relative'):
            for stride in strides:
                config = DenoiseRepConfig(update=update, noise=noise, step_stride=stride)
                twin, steps, size = denoised(model, moments, config)
                print(f'{update:<10} {noise:<9} {stride:>6} {steps[-1]:>3}-{steps[0]:<4} '
                      f'{size:>11.5f} '
                      f'{accuracy(twin, test, labels):>9.4f}', flush=True)


if __name__ == '__main__':
    main()
