#!/usr/bin/env python
"""Mean and standard deviation over several runs of tools/robustness.py, a seed each.

Below each FOLDER stand the runs of one model: one robustness.json per seed, with the same names of
checkpoints, corruptions and severities. One table, one JSON file and one picture come out.
"""
import sys
from pathlib import Path

from denoiserep_ext.command_line import tool_parser
from denoiserep_ext.robustness.over_seeds import read_runs, runs_below
from denoiserep_ext.robustness.over_seeds_table import save_summary, table

EXAMPLE = """runs of two models, in vit/seed0, vit/seed1, ... and resnet/seed0, ...:
  python tools/robustness_summary.py vit resnet --fitted contrast --out summary
"""


def parse_args():
    parser = tool_parser(__doc__, EXAMPLE)
    parser.add_argument('folder', nargs='+', type=Path, help='folder with the runs of one model')
    parser.add_argument('--names', nargs='+', help="what to call the models (default: the folders')")
    parser.add_argument('--fitted', nargs='+', default=[], metavar='NAME',
                        help='corruptions that checkpoints were fitted to; others are set apart')
    parser.add_argument('--out', type=Path, required=True, help='folder for figures and picture')
    args = parser.parse_args()
    if args.names is not None and len(args.names) != len(args.folder):
        parser.error(f'{len(args.folder)} folders need as many names, got {len(args.names)}')
    return args


def main():
    args = parse_args()
    names = args.names or [folder.resolve().name for folder in args.folder]
    try:
        models = [read_runs(name, runs_below(folder)) for name, folder in zip(names, args.folder)]
        if len(set(names)) < len(names):
            raise ValueError(f'models need different names, got {", ".join(names)}: give --names.')
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'robustness_summary: {error}')
    files = save_summary(models, args.out, args.fitted)
    print(f'{table(models, args.fitted)}\n\nfigures and picture: {", ".join(map(str, files))}')


if __name__ == '__main__':
    main()
