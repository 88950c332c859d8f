"""Kill real runs at random moments, resume them, and compare them with runs that were left alone."""
from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'  # sums in one order, and nothing that a fork could break

from tests.kills.runs import runs  # noqa: E402
from tests.kills.starting import preload  # noqa: E402
from tests.kills.trial import Trial  # noqa: E402

NAMES = ('joint', 'alternate', 'frozen', 'detector', 'segmentor', 'fastreid', 'compare',
         'compare-reid', 'sweep', 'shares', 'robustness')


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m tests.kills', description=__doc__)
    parser.add_argument('--kills', type=int, default=60, help='of all runs together (default: 60)')
    parser.add_argument('--runs', nargs='+', choices=NAMES, default=NAMES)
    parser.add_argument('--seed', type=int, default=0, help='of the moments (default: 0)')
    parser.add_argument('--work-dir', type=Path, help='keep data and logs here')
    args = parser.parse_args()
    preload()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work_dir or Path(temporary)
        made, failures, total = runs(folder.absolute() / 'data'), [], [0, 0, 0]
        print(f'| {"run":<34} | kills | while a file changed | survived |\n|:--|--:|--:|--:|',
              flush=True)
        for number, name in enumerate(args.runs):
            share = (args.kills + number) // len(args.runs)
            trial = Trial(made[name], folder.absolute() / name, args.seed)
            tally = trial.kill(share)
            figures = tally.tried, tally.writing, tally.survived
            total = [a + b for a, b in zip(total, figures)]
            print(f'| {made[name].name:<34} | {figures[0]} | {figures[1]} | {figures[2]} |', flush=True)
            print(f'  ({"; ".join(tally.moments)})', file=sys.stderr, flush=True)
            failures += tally.failures
        print(f'| {"all":<34} | {total[0]} | {total[1]} | {total[2]} |')
    print('\n'.join(failures))
    return bool(failures)


if __name__ == '__main__':
    sys.exit(main())
