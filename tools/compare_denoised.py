#!/usr/bin/env python
"""A model as it was trained against the same one denoised, on images made worse, over several seeds.

Each CONFIG (OpenMMLab) is trained once per seed as it is. Then tools/calibrate.py denoises the trained
model by unlabelled train images made worse, and tools/robustness.py scores it on the test set. Control
rows, by the same images: a fit of the biases alone, and, where there is BatchNorm, its statistics
re-estimated. Run it again to go on where it stopped.
"""
import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

from denoiserep_ext.command_line import tool_parser
from denoiserep_ext.compare.denoised import Trial
from denoiserep_ext.compare.openmmlab import OpenMMLab
from denoiserep_ext.compare.programs import interrupt_on_signals, threads_each
from denoiserep_ext.compare.trials import gather_trials, judged, run_trials
from denoiserep_ext.core.checks import integer
from denoiserep_ext.corruptions.names import Corruption, expand
from denoiserep_ext.robustness.over_seeds_table import save_summary, table

EXAMPLE = """one model and three seeds, fitted to contrast, scored with pixelate, too:
  python tools/compare_denoised.py configs/mmpretrain/digits/vit-tiny_1xb64_digits.py \\
      --corruptions contrast --others pixelate --seeds 0 1 2
"""


def parse_args():
    parser = tool_parser(__doc__, EXAMPLE)
    parser.add_argument('config', nargs='+', help='config(s) that train and test a model')
    parser.add_argument('--corruptions', nargs='+', required=True, metavar='NAME',
                        help='that train images for the fit are made worse by, and test images')
    parser.add_argument('--others', nargs='+', default=[], metavar='NAME',
                        help='that only test images are made worse by')
    parser.add_argument('--severity', type=int, default=3, metavar='N', help='1 to 5')
    parser.add_argument('--images', type=int, default=1024, metavar='N',
                        help='unlabelled train images; 0: all')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], metavar='N',
                        help='of training, of the images that are drawn and of what makes them worse')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare_denoised'),
                        help='where everything goes; what is done there is not done again')
    parser.add_argument('--jobs', type=int, default=1, help='models at a time')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='overrides of every config')
    return parser.parse_args()


def plan(args):
    """A trial for every model and seed.

    Raises:
        ValueError, FileNotFoundError: for bad options, before anything is trained.
    """
    if len(set(args.seeds)) < len(args.seeds) or min(args.seeds) < 0:
        raise ValueError(f'seeds must be different numbers from 0, got {args.seeds}.')
    integer('--jobs', args.jobs, 1)
    integer('--images', args.images, 0)
    fitted = expand(args.corruptions)
    others = expand(args.others) if args.others else ()
    for name in (*fitted, *others):
        Corruption(name, args.severity)
    twice = set(fitted) & set(others)
    if twice:
        raise ValueError(f'{", ".join(sorted(twice))}: either fitted to (--corruptions) or not '
                         f'(--others).')
    names = [Path(path).stem for path in args.config]
    if len(set(names)) < len(names):
        raise ValueError(f'configs need different names, got {", ".join(names)}.')
    host, trials = OpenMMLab(), []
    for name, path in zip(names, args.config):
        if Path(path).suffix != '.py':
            raise ValueError(f'{path} is no config of OpenMMLab (.py). For FastReID run '
                             f'tools/train_net.py, tools/calibrate.py and tools/robustness.py one after '
                             f'the other.')
        config = host.read_config(path, overrides(args.cfg_options))
        words = [path, *(['--cfg-options', *args.cfg_options] if args.cfg_options else [])]
        trials += [Trial(host, config, words, Path(__file__).resolve().parent, name, seed,
                         args.work_dir / name / f'seed{seed}', fitted, others, args.severity,
                         args.images, threads_each(args.jobs)) for seed in args.seeds]
    return trials


def overrides(words):
    """``KEY=VALUE`` words as mmengine reads them."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    return parser.parse_args(['--cfg-options', *words]).cfg_options if words else {}


def main():
    args = parse_args()
    interrupt_on_signals()
    try:
        trials = plan(args)
        results = run_trials(trials, args.jobs)
        models, fitted = gather_trials(trials, results), trials[0].fitted
        files = save_summary(models, args.work_dir, fitted)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f'compare_denoised: {error}')
    except KeyboardInterrupt:
        sys.exit(f'compare_denoised: interrupted; what is done is in {args.work_dir}, and the same '
                 f'command goes on from there.')
    lines = [table(models, fitted), '', *judged(trials, results), '',
             f'figures and picture: {", ".join(map(str, files))}']
    print('\n' + '\n'.join(lines))


if __name__ == '__main__':
    main()
