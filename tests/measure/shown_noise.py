"""The ladder of methods against noise that is shown: ResNet-20, unlabelled images of CIFAR-10.

Each method sees the same images, each clean and made worse, and is scored on test images made worse and
on clean ones, beside the plain model. Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.shown_noise
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from denoiserep_ext import PairConfig, denoise_pairs_
from denoiserep_ext.core.pairs.config import FORMS
from denoiserep_ext.paired import interval
from tests.measure import rivals
from tests.measure.bench import Bench, Sample
from tests.measure.printing import parser, start, table
from tests.measure.worse import LADDER, NOISES

RATES = (3e-4, 1e-3, 3e-3)
TRAINED = {'distillation, no labels': rivals.distil_, 'fine-tuning with labels': rivals.fine_tune_}


def _denoise_(model, sample: Sample, seed: int, form: str) -> None:
    denoise_pairs_(model, sample.pairs(), PairConfig(form=form, seed=seed))


METHODS: dict[str, Callable] = {  # (model, sample, seed), changing the model in place
    'BatchNorm adaptation': lambda model, sample, seed: rivals.adapt_norms_(model, sample),
    'mean shift of features': lambda model, sample, seed: rivals.shift_features_(model, sample),
    **{form: partial(_denoise_, form=form) for form in reversed(FORMS)}}


def _train_(model, sample: Sample, seed: int, train: Callable, rate: float) -> None:
    train(model, sample, rate, seed)


def choose_rate(bench: Bench, name: str, images: int) -> float:
    """The learning rate that does best on train images held out, worse and clean, under the ladder's
    first noise."""
    noise, scores = LADDER[0], {}
    for rate in RATES:
        model = bench.model()
        TRAINED[name](model, bench.sample([noise], images), rate, 0)
        scores[rate] = (bench.right(model, noise).mean() + bench.right(model).mean()) / 2
    print(f'{name}: held-out train images, mean of worse and clean, by learning rate: ' + ', '.join(
        f'{rate:g} {score:.1f}' for rate, score in scores.items()), flush=True)
    return max(scores, key=scores.get)


def ladder(bench: Bench, noise: str, chosen: dict[str, Callable], images: int,
           seeds: Sequence[int]) -> str:
    """The table of one noise."""
    samples = {seed: bench.sample([noise], images, seed) for seed in seeds}
    right: dict[str, np.ndarray] = {}  # [seeds, worse and clean, images]
    for name, change_ in chosen.items():
        each = []
        for seed, sample in samples.items():
            model = bench.model()
            change_(model, sample, seed)
            each.append([bench.right(model, noise), bench.right(model)])
            print(f'  {noise}, {name}, seed {seed}: worse {each[-1][0].mean():.1f}, '
                  f'clean {each[-1][1].mean():.1f}', flush=True)
        right[name] = np.array(each)
    rows = [('method', 'worse', 'clean', 'worse - plain', 'clean - plain')]
    for name, values in right.items():
        rows.append((name, *map(_mean_and_spread, values.mean(2).T),
                     *('-' if name == 'plain' else _with_interval(d)
                       for d in (values - right['plain']).mean(0))))
    return f'{noise}\n{table(rows)}'


def _with_interval(differences: np.ndarray) -> str:
    mean, half = interval(differences.tolist())
    return f'{mean:+.1f} +- {half:.1f}'


def _mean_and_spread(values: np.ndarray) -> str:
    return f'{values.mean():.1f}' + (f' +- {values.std(ddof=1):.1f}' if len(values) > 1 else '')


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and print the tables."""
    options = parser(__doc__)
    options.add_argument('--noises', nargs='+', choices=NOISES, default=LADDER, metavar='NOISE')
    options.add_argument('--methods', nargs='+', choices=[*METHODS, *TRAINED], metavar='METHOD',
                         default=[*METHODS, *TRAINED])
    options.add_argument('--rate', type=float, help='learning rate of those that train, instead of the '
                                                    'one that is chosen on held-out train images')
    options.add_argument('--device', default='cpu', help='cpu (the default) or cuda')
    args = options.parse_args(arguments)
    data = start()
    if args.quick:
        args.noises, args.methods, images, limit = LADDER[:1], list(METHODS)[:3], 16, 100
    else:
        images, limit = 500, None
    chosen = {'plain': lambda model, sample, seed: None}
    for name in args.methods:
        if name in TRAINED:
            rate = args.rate or choose_rate(
                Bench(data, held=True, device=args.device), name, images)
            chosen[name] = partial(_train_, train=TRAINED[name], rate=rate)
        else:
            chosen[name] = METHODS[name]
    bench = Bench(data, limit=limit, device=args.device)
    tables = [ladder(bench, noise, chosen, images, range(args.seeds)) for noise in args.noises]
    print(f'\nAccuracy (%) on {len(bench.labels)} test images, {images} unlabelled train images; spread '
          f'over {args.seeds} draws of them;\ndifferences: paired, 95 % intervals over test images\n')
    print('\n\n'.join(tables))


if __name__ == '__main__':
    main()
