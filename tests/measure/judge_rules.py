"""How sure of a gain the judge should be: ResNet-20 denoised whatever the judge says, and what each rule
would have made of it, on train images held out (or on the test images, with ``--test``).

Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.judge_rules --seeds 3
"""
from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

from scipy.stats import t

from denoiserep_ext.core.pairs import judge
from denoiserep_ext.core.pairs.config import FORMS
from tests.measure.bench import Bench
from tests.measure.mobile import BACKBONES, MobileBench
from tests.measure.printing import parser, start, table
from tests.measure.worse import LADDER, NOISES

RULES: dict[str, Callable[[int], float]] = {  # standard errors that a gain must exceed
    'always': lambda images: -math.inf, 'any gain': lambda images: 0.0,
    'one standard error': lambda images: 1.0,
    '95 %, two-sided': lambda images: t.ppf(0.975, images - 1) if images > 1 else math.inf}


def fit(bench: Bench, noise: str, images: int, seed: int, form: str) -> dict:
    """A walk that is accepted whatever the judge finds, and what it found."""
    with patch.object(judge, 'MARGIN', -math.inf):
        model, report = bench.denoised([noise], images, seed, form=form)
    verdict = report.verdict
    scores = {kind: bench.right(model, name).mean() for kind, name in (('worse', noise),
                                                                       ('clean', 'clean'))}
    return dict(noise=noise, images=images, seed=seed, form=form, gain=verdict.gain, error=verdict.error,
                judged=verdict.images, layers=len(report.changed), **scores)


def outcomes(found: Sequence[dict], plain: dict[str, float]) -> str:
    """The table of rules: how many fits each accepts, and what becomes of accuracy."""
    cells = [('rule', 'accepted', 'worse - plain', 'clean - plain', 'worst mean of both')]
    for name, errors in RULES.items():
        worse, clean = [], []
        for one in found:
            taken = one['gain'] > one['error'] * errors(one['judged']) or name == 'always'
            worse.append(taken * (one['worse'] - plain[one['noise']]))
            clean.append(taken * (one['clean'] - plain['clean']))
        accepted = sum(1 for pair in zip(worse, clean) if any(pair))
        cells.append((name, f'{accepted} of {len(found)}', f'{sum(worse) / len(found):+.2f}',
                      f'{sum(clean) / len(found):+.2f}',
                      f'{min((a + b) / 2 for a, b in zip(worse, clean)):+.2f}'))
    return table(cells)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, fit and print the tables."""
    options = parser(__doc__)
    options.add_argument('--noises', nargs='+', choices=NOISES, metavar='NOISE',
                         default=(*LADDER, 'Gaussian, sd 50'))
    options.add_argument('--images', nargs='+', type=int, default=(32, 64, 128, 500))
    options.add_argument('--forms', nargs='+', choices=FORMS, default=('patch', ))
    options.add_argument('--test', action='store_true', help='score on the test images')
    options.add_argument('--model', choices=BACKBONES, help='instead of ResNet-20; test images')
    options.add_argument('--weights', type=Path, help='of that model, see tests.measure.shown_mobile')
    options.add_argument('--device', default='cpu')
    options.add_argument('--out', type=Path, help='file for every fit, a line of JSON each')
    args = options.parse_args(arguments)
    if args.quick:
        args.noises, args.images = args.noises[:1], (16, )
    limit = 100 if args.quick else None
    if args.model:
        bench: Bench = MobileBench(args.weights, args.model, start(), limit, args.device)
    else:
        bench = Bench(start(), not args.test, limit, args.device)
    plain = {kind: bench.right(bench.model(), kind).mean() for kind in ('clean', *args.noises)}
    print('plain: ' + ', '.join(f'{name} {value:.1f}' for name, value in plain.items()), flush=True)
    found = []
    for noise in args.noises:
        for images in args.images:
            for seed in range(args.seeds):
                for form in args.forms:
                    found.append(fit(bench, noise, images, seed, form))
                    print(json.dumps(found[-1]), flush=True)
                    if args.out:
                        with args.out.open('a') as file:
                            print(json.dumps(found[-1]), file=file)
    print(f'\n{len(bench.labels)} images, accuracy in points\n\n{outcomes(found, plain)}')


if __name__ == '__main__':
    main()
