"""Fitted on one noise, tested on others: ResNet-20, unlabelled images of CIFAR-10.

One table of the ladder's noises, and of one model for a mixture; one of ImageNet-C style corruptions at
all severities, with some that no model was fitted on. (Their blurs and flakes were made for photographs
of about 224 px: at 32 px they are much stronger than those of CIFAR-10-C.) Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.shown_transfer
"""
from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from denoiserep_ext.corruptions import SEVERITIES
from tests.measure.bench import Bench
from tests.measure.printing import parser, start, table
from tests.measure.worse import MIXTURE, NOISES

FITTED = ('gaussian_noise@2', 'jpeg_compression@3', 'contrast@2', 'defocus_blur@1')
TESTED = ('gaussian_noise', 'jpeg_compression', 'contrast', 'defocus_blur')
NOT_FITTED = ('shot_noise', 'speckle_noise', 'motion_blur', 'pixelate', 'brightness', 'fog', 'saturate')


def fitted(bench: Bench, noises: Sequence[str], mixture: Sequence[str], images: int) -> dict:
    """Models by the noise they were fitted on, the plain one first and that of the mixture last."""
    models = {'plain': bench.model()}
    for name, own in {**{noise: (noise, ) for noise in noises}, 'mixture': mixture}.items():
        models[name], report = bench.denoised(own, images)
        verdict = report.verdict
        print(f'fitted on {", ".join(own)}: {len(report.changed)} of {len(report.layers)} layers changed'
              f', judge {verdict.gain:+.3f} +- {verdict.error:.3f}', flush=True)
    return models


def matrix(bench: Bench, models: Mapping, rows: Mapping[str, Sequence[str]]) -> str:
    """Accuracy of models (columns) by row, the mean over the noises of a row."""
    cells = [('tested on', *models)]
    for name, noises in rows.items():
        means = [statistics.fmean(bench.right(model, noise).mean() for noise in noises)
                 for model in models.values()]
        cells.append((name, *map('{:.1f}'.format, means)))
        print('  ' + '  '.join(cells[-1]), flush=True)
    return table(cells)


def severities(names: Sequence[str], each: bool) -> dict[str, list[str]]:
    """Rows: one per corruption, the mean over severities, or one per severity."""
    rows = {name: [f'{name}@{severity}' for severity in SEVERITIES] for name in names}
    return {spec: [spec] for own in rows.values() for spec in own} if each else rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and print the tables."""
    options = parser(__doc__)
    options.add_argument('--each', action='store_true', help='a row per severity, not their mean')
    args = options.parse_args(arguments)
    bench = Bench(start(), limit=100 if args.quick else None)
    images = 16 if args.quick else 500
    simple = ('contrast x 0.3', ) if args.quick else tuple(NOISES)
    own = fitted(bench, simple, MIXTURE[:2] if args.quick else MIXTURE, images)
    first = matrix(bench, own, {noise: [noise] for noise in ('clean', *NOISES)})
    parts = [f'Fitted on (columns); mixture: {", ".join(MIXTURE)}\n{first}']
    if not args.quick:
        styled = fitted(bench, FITTED, FITTED, images)
        rows = {'clean': ['clean'], **severities(TESTED + NOT_FITTED, args.each)}
        parts.append(f'ImageNet-C style; {", ".join(NOT_FITTED)}: fitted on by none\n'
                     + matrix(bench, styled, rows))
    print(f'\nAccuracy (%) on {len(bench.labels)} test images, {images} unlabelled train images\n')
    print('\n\n'.join(parts))


if __name__ == '__main__':
    main()
