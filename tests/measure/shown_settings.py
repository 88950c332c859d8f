"""How many images denoising needs, and what each setting does: ResNet-20, Gaussian noise, CIFAR-10.

Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.shown_settings
``--held`` scores on train images held out, by which settings may be chosen, not on the test images.
"""
from __future__ import annotations

from collections.abc import Sequence

from tests.measure.bench import Bench
from tests.measure.printing import parser, start, table
from tests.measure.worse import NOISES

IMAGES = (8, 32, 128, 512, 2000)
SETTINGS = {'ridge': ('auto', 1e-3, 1e-2, 1e-1), 'clean_weight': (0.0, 0.3, 1.0, 3.0),
            'positions': (12, 48, 192), 'damping': (0.5, 1.0), 'skip': (True, False)}


def row(bench: Bench, noise: str, seeds: int, name: str, images: int, **options) -> tuple[str, ...]:
    """Accuracies, and what was changed: means over draws of the images."""
    found = []
    for seed in range(seeds):
        model, report = bench.denoised([noise], images, seed, **options)
        found.append((bench.right(model, noise).mean(), bench.right(model).mean(), len(report.changed)))
    cells = (name, *(f'{sum(values) / seeds:.1f}' for values in zip(*found)))
    print('  ' + '  '.join(cells), flush=True)
    return cells


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and print the tables."""
    options = parser(__doc__)
    options.add_argument('--held', action='store_true', help='score on held-out train images')
    options.add_argument('--noise', choices=NOISES, default='Gaussian, sd 20')
    options.add_argument('--only', nargs='+', choices=('images', *SETTINGS), metavar='SETTING',
                         default=('images', *SETTINGS), help='some of the tables')
    args = options.parse_args(arguments)
    bench = Bench(start(), held=args.held, limit=100 if args.quick else None)
    model = bench.model()
    head = ('', 'worse', 'clean', 'layers')
    plain = ('plain', *(f'{bench.right(model, noise).mean():.1f}' for noise in (args.noise, 'clean')),
             '-')

    def rows(cases: dict[str, dict]) -> str:
        return table([head, plain, *(row(bench, args.noise, args.seeds, name, **case)
                                     for name, case in cases.items())])

    counts = IMAGES[:1] if args.quick else IMAGES
    parts = []
    if 'images' in args.only:
        parts.append(rows({f'{n} images': dict(images=n) for n in counts}
                          | {f'{n} images, no judge': dict(images=n, held_out=0.0) for n in counts}))
    for setting, values in () if args.quick else SETTINGS.items():
        if setting in args.only:
            parts.append(rows({f'{setting} {value}': {'images': 500, setting: value}
                               for value in values}))
    print(f'\n{args.noise}: accuracy (%) on {len(bench.labels)} images, mean over {args.seeds} draws of '
          f'the images fitted on\n')
    print('\n\n'.join(parts))


if __name__ == '__main__':
    main()
