#!/usr/bin/env python
"""Checkpoints side by side on a config's test set, clean and made worse as in ImageNet-C.

CONFIG is a config of MMPretrain, MMDetection or MMSegmentation (.py) or of FastReID (.yml), with or
without DenoiseRep; its own evaluator does the scoring. A table, JSON, CSV and two pictures come out.
Every score is kept as it comes: run it again to go on where it stopped, or to add to it.
"""
import sys
from pathlib import Path

from mmengine.config import DictAction

from denoiserep_ext.command_line import tool_parser
from denoiserep_ext.core.checks import integer
from denoiserep_ext.core.files.writing import require_writable, write_json
from denoiserep_ext.corruptions.names import ALL, GROUPS, SEVERITIES
from denoiserep_ext.robustness import pictures, report
from denoiserep_ext.robustness.cells import checkpoints_of
from denoiserep_ext.robustness.run import Plan, measure

EXAMPLE = """a model before and after, on the 15 corruptions of ImageNet-C at severity 3:
  python tools/robustness.py resnet50.py plain.pth denoised.pth --out scores --severities 3
"""
WORSE = ('queries', 'gallery', 'both')


def parse_args():
    parser = tool_parser(__doc__, EXAMPLE)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', type=Path, nargs='+', help='checkpoints of its model; others are '
                        'compared with the first one')
    parser.add_argument('--out', type=Path, required=True, help='folder for scores, table and pictures')
    parser.add_argument('--names', nargs='+', help='what to call the checkpoints (default: their files)')
    parser.add_argument('--corruptions', nargs='+', default=['benchmark'], metavar='NAME',
                        help=f'groups ({", ".join(GROUPS)}) or names: {", ".join(ALL)}')
    parser.add_argument('--severities', nargs='+', type=int, default=SEVERITIES, metavar='N',
                        help='1 (light) to 5 (heavy)')
    parser.add_argument('--metric', help='metric of table and pictures; higher is better '
                        "(default: the task's)")
    parser.add_argument('--worse', choices=WORSE, help='FastReID: what is made worse (default: both)')
    parser.add_argument('--limit', type=int, metavar='N',
                        help='draw N test images; FastReID: N queries, with the whole gallery '
                        '(default: all)')
    parser.add_argument('--seed', type=int, default=0, help='of corruptions and of this draw')
    parser.add_argument('--batch-size', type=int, help="images at a time (default: the config's)")
    parser.add_argument('--workers', type=int, help="loading processes (default: the config's)")
    parser.add_argument('--unsafe', action='store_true',
                        help='allow checkpoints that can run code; only files you trust')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='overrides of an OpenMMLab config')
    parser.add_argument('--opts', nargs='+', default=[], metavar='KEY VALUE',
                        help='overrides of a FastReID config')
    return parser.parse_args()


def build_host(args):
    """The models with their test set and evaluator."""
    common = (args.limit, args.seed, args.metric, args.batch_size, args.workers)
    if Path(args.config).suffix in ('.yml', '.yaml'):
        from denoiserep_ext.robustness.fastreid import FastReID
        return FastReID(args.config, args.checkpoint, args.worse or 'both', *common, args.opts)
    if args.worse is not None:
        raise ValueError('--worse is for re-identification: there are no queries here.')
    from denoiserep_ext.robustness.openmmlab import OpenMMLab
    return OpenMMLab(args.config, args.checkpoint, *common, args.cfg_options, args.unsafe)


def run(args):
    """Check the options, measure, report."""
    plan = Plan(args.corruptions, args.severities)
    for name, value, least in (('limit', args.limit, 1), ('seed', args.seed, 0),
                               ('batch-size', args.batch_size, 1), ('workers', args.workers, 0)):
        if value is not None:
            integer(f'--{name}', value, least)
    require_writable(args.out / 'robustness.json')
    checkpoints = checkpoints_of(args.checkpoint, args.names)
    results = measure(build_host(args), checkpoints, plan, args.out)
    write_json(report.figures(results), args.out / 'robustness.json')
    report.write_csv(results, args.out / 'robustness.csv')
    pictures.save_curves(results, args.out / 'curves.png')
    pictures.save_heat_map(results, args.out / 'heat_map.png')
    print(f'\n{report.table(results)}\n\nfigures and pictures: '
          f'{args.out}/robustness.json, robustness.csv, curves.png, heat_map.png')


def main():
    args = parse_args()
    try:
        run(args)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f'robustness: {error}')
    except KeyboardInterrupt:
        sys.exit(f'robustness: interrupted; scores so far are in {args.out}/cells, and the same command '
                 f'goes on from there.')


if __name__ == '__main__':
    main()
