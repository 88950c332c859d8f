"""SGD on the denoising loss against the closed-form optimum, on real features of ResNet-20.

Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.sgd_reaches_floor --picture curve.png
"""
from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import mean

import torch

from denoiserep_ext import DenoiseRepConfig, PredictorSGD, convert_, fit_one_pass_
from denoiserep_ext.core.fit.one_pass import TOKENS, observing
from denoiserep_ext.core.fit.optimum import Optimum
from denoiserep_ext.core.fit.recipes import DENOISE, enter_phase_
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.measure.cifar import load_images, load_resnet20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--stride', type=int, default=25)
    parser.add_argument('--lr', type=float, default=0.1)
    parser.add_argument('--picture', type=Path)
    args = parser.parse_args()
    data = Path(os.environ['DENOISEREP_TEST_DATA'])
    images, _ = load_images(data, 'train')
    options = dict(noise='relative', step_stride=args.stride)

    model = load_resnet20(data)
    convert_(model, DenoiseRepConfig(solver='sgd', loss_tokens=4096, **options))
    with observing(model) as moments:
        for batch in images.split(256):
            model(batch)
    floor = mean([Optimum(layer, moments[name]).floor() for name, layer in denoise_layers(model)])
    print(f'floor: mean loss over {len(moments)} layers {floor:.5f}')
    for tokens in (None, TOKENS):
        solved = load_resnet20(data)
        convert_(solved, DenoiseRepConfig(**options))
        start = time.perf_counter()
        fit_one_pass_(solved, images.split(256), tokens)
        seconds = time.perf_counter() - start
        loss = mean([Optimum(layer, moments[name]).loss() for name, layer in denoise_layers(solved)])
        print(f'one pass, {tokens or "all"} vectors per image: above the floor {loss - floor:.6f}, '
              f'{seconds:.1f} s')
    enter_phase_(model, DENOISE)
    trainer = PredictorSGD(model, lambda p: torch.optim.Adam(p, lr=args.lr))
    steps = args.epochs * -(-len(images) // 256)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, steps)
    print(f'SGD (Adam {args.lr}, cosine, 4096 vectors per layer and step):')
    curve, seconds, generator = [], 0.0, torch.Generator().manual_seed(0)
    for epoch in range(args.epochs):
        start = time.perf_counter()
        for batch in images[torch.randperm(len(images), generator=generator)].split(256):
            with torch.no_grad():
                model(batch)
            trainer.step()
            schedule.step()
        seconds += time.perf_counter() - start
        curve.append(mean([Optimum(layer, moments[name]).loss()
                           for name, layer in denoise_layers(model)]))
        print(f'  epoch {epoch + 1:>3}: mean loss {curve[-1]:.5f}, above the floor '
              f'{curve[-1] - floor:.5f}, {seconds:.0f} s', flush=True)
    gaps = [((a.denoiser.weight - b.denoiser.weight).norm() / b.denoiser.weight.norm()).item()
            for (_, a), (_, b) in zip(denoise_layers(model), denoise_layers(solved))]
    print(f'|W_D(SGD) - W_D(one pass)| / |W_D(one pass)|: mean {mean(gaps):.3f}, '
          f'largest {max(gaps):.3f}')
    if args.picture:
        draw(args.picture, curve, floor)


def draw(path: Path, curve: list[float], floor: float) -> None:
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(layout='constrained')
    axes.plot(range(1, len(curve) + 1), curve, 'o-', label='SGD')
    axes.axhline(floor, color='black', linestyle='--', label='floor, reached by one pass')
    axes.set(xlabel='epoch', ylabel='mean denoising loss per layer', yscale='log')
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == '__main__':
    main()
