#!/usr/bin/env python
"""Baseline, control and DenoiseRep for the same budget, over several seeds.

CONFIG is an OpenMMLab config with DenoiseRepHook (.py) or a FastReID config with the meta-architecture
DenoiseRep (.yml). The control is the same config without it; both start from the same baseline.
Training and testing are the host's own (mim train, mim test; FastReID's trainer and evaluator); the
fused file is tested with the config that has no DenoiseRep. Run it again to go on where it stopped.
"""
import sys
from pathlib import Path

from mmengine.config import DictAction

from denoiserep_ext.command_line import tool_parser
from denoiserep_ext.compare import report
from denoiserep_ext.compare.alive import signs_of_life
from denoiserep_ext.compare.comparison import Comparison, summarise, verdict
from denoiserep_ext.compare.picture import save_picture
from denoiserep_ext.compare.programs import interrupt_on_signals
from denoiserep_ext.core.files.writing import require_writable, write_json

EXAMPLE = """three seeds, a baseline trained for each:
  python tools/compare.py configs/mmpretrain/digits/vit-tiny_denoiserep-joint_1xb64_digits.py \\
      --baseline configs/mmpretrain/digits/vit-tiny_1xb64_digits.py --seeds 0 1 2
"""


def parse_args():
    parser = tool_parser(__doc__, EXAMPLE)
    parser.add_argument('config', nargs='+', help='config(s) with DenoiseRep')
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument('--baseline', nargs='+', help='config(s) that train the baselines')
    start.add_argument('--checkpoint', nargs='+', help='trained baseline(s)')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], metavar='N',
                        help='of the runs')
    parser.add_argument('--metric', help='metric of the picture (default: the first one)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'),
                        help='where everything goes; what is done there is not done again')
    parser.add_argument('--jobs', type=int, default=1, help='programs at a time')
    parser.add_argument('--skip-costs', action='store_true', help='do not time anything')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='overrides of every config')
    args = parser.parse_args()
    starts = args.baseline or args.checkpoint
    if len(starts) != len(args.config):
        parser.error(f'{len(args.config)} configs need as many baselines, got {len(starts)}')
    return args


def host_of(path):
    """The toolbox that a config file is for."""
    if Path(path).suffix in ('.yml', '.yaml'):
        from denoiserep_ext.compare.fastreid import FastReID
        return FastReID()
    from denoiserep_ext.compare.openmmlab import OpenMMLab
    return OpenMMLab()


def plan(args, path, start):
    """What one comparison will do; its configs are read."""
    host, options = host_of(path), args.cfg_options or {}
    return Comparison(
        host=host, config=host.read_config(path, options), work_dir=args.work_dir / Path(path).stem,
        seeds=args.seeds, jobs=args.jobs,
        baseline=host.read_config(start, options) if args.baseline else None,
        checkpoint=None if args.baseline else Path(start))


def compare(args, comparison):
    """Run one comparison; return its report."""
    host, config, folder = comparison.host, comparison.config, comparison.work_dir
    name, results = folder.name, comparison.run()
    metric = args.metric or next(iter(results[0]['metrics']))
    if metric not in results[0]['metrics']:
        raise ValueError(f'there is no metric {metric!r}: {", ".join(results[0]["metrics"])}')
    last = next(r for r in results if r['row'] == 'denoiserep')
    with signs_of_life('comparing fused with unfused features'
                       + ('' if args.skip_costs else ' and timing steps')):
        costs = host.costs(config, last['checkpoint'], last['plain'], folder / 'timing',
                           not args.skip_costs)
    result = {'name': name, 'seeds': args.seeds, 'metric': metric, 'results': results,
              'summary': summarise(results), 'verdict': f'{name}: {verdict(results, metric)}',
              'costs': costs, 'layers': report.layer_figures(results)}
    write_json(result, folder / 'comparison.json')
    return result


def main():
    args = parse_args()
    interrupt_on_signals()
    try:
        require_writable(args.work_dir / 'comparison.png')
        # All are read before the first is trained.
        plans = [plan(args, path, start)
                 for path, start in zip(args.config, args.baseline or args.checkpoint)]
        reports = [compare(args, comparison) for comparison in plans]
        picture = args.work_dir / 'comparison.png'
        save_picture(reports, picture)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f'compare: {error}')
    except KeyboardInterrupt:
        sys.exit(f'compare: interrupted; what is done is in {args.work_dir}, and the same command goes '
                 f'on from there.')
    print(f'\n{report.table(reports)}\n')
    print(f'picture: {picture}; figures: {args.work_dir}/*/comparison.json')


if __name__ == '__main__':
    main()
