"""MobileNetV2 and EfficientNet-B0, which are hard to denoise, under noise that is shown: CIFAR-10.

With the judge and without it, beside the plain model and a fit of the biases alone; ``--layers`` prints
the record of every layer. The model is trained at the first run, which wants a GPU or half an hour. Run
it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.shown_mobile mobilenet-v2 --weights FILE
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from denoiserep_ext.paired import interval
from tests.measure.mobile import BACKBONES, EPOCHS, MobileBench
from tests.measure.printing import parser, start, table
from tests.measure.worse import LADDER, NOISES

FITS = {'bias only': dict(form='bias'), 'patch, no judge': dict(held_out=0.0), 'patch': dict()}


def rows(bench: MobileBench, noise: str, images: int, seeds: int, layers: bool) -> list[tuple]:
    """The table of one noise: accuracies, and differences from the plain model with 95 % intervals over
    the images that are scored."""
    plain = np.array([bench.right(bench.model(), kind) for kind in (noise, 'clean')])
    found = [(noise, 'worse', 'clean', 'worse - plain', 'clean - plain', 'layers'),
             ('plain', *(f'{value:.1f}' for value in plain.mean(1)), '-', '-', '-')]
    for name, options in FITS.items():
        right, changed = [], []
        for seed in range(seeds):
            model, report = bench.denoised([noise], images, seed, **options)
            right.append([bench.right(model, kind) for kind in (noise, 'clean')])
            changed.append(f'{len(report.changed)}/{len(report.layers)}')
            print(f'  {noise}, {name}, seed {seed}: worse {right[-1][0].mean():.1f}, clean '
                  f'{right[-1][1].mean():.1f}, {changed[-1]} layers', flush=True)
            if layers and seed == 0:
                print(report, flush=True)
        mean = np.array(right).mean(0)
        differences = ('{:+.1f} +- {:.1f}'.format(*interval(d.tolist())) for d in mean - plain)
        found.append((name, *(f'{value:.1f}' for value in mean.mean(1)), *differences,
                      ' '.join(changed)))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and print the tables."""
    options = parser(__doc__)
    options.add_argument('model', choices=BACKBONES)
    options.add_argument('--weights', type=Path, required=True,
                         help='file of the trained model; written where there is none')
    options.add_argument('--noises', nargs='+', choices=NOISES, metavar='NOISE',
                         default=(*LADDER, 'Gaussian, sd 50'))
    options.add_argument('--device', default='cpu', help='cpu (the default) or cuda')
    options.add_argument('--layers', action='store_true', help='print the record of every layer')
    args = options.parse_args(arguments)
    limit, images, epochs = (50, 16, 1) if args.quick else (None, 500, EPOCHS)
    bench = MobileBench(args.weights, args.model, start(), limit, args.device, epochs)
    tables = [table(rows(bench, noise, images, args.seeds, args.layers))
              for noise in (args.noises[:1] if args.quick else args.noises)]
    print(f'\n{args.model}: accuracy (%) on {len(bench.labels)} test images, {images} unlabelled train '
          f'images, mean over {args.seeds} draws of them\n')
    print('\n\n'.join(tables))


if __name__ == '__main__':
    main()
