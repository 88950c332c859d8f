"""FastReID's command line for DenoiseRep, and for any other FastReID config.

    python -m denoiserep_ext.reid.train_net --config-file CONFIG.yml [--eval-only] [KEY VALUE ...]
"""
from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from fastreid.config import CfgNode
from fastreid.engine import default_argument_parser, default_setup
from fastreid.utils import comm

from ..command_line import HelpFormatter
from ..core.files.writing import require_writable, write_json
from . import Trainer, read_config
from .checkpoint import last_checkpoint
from .config import refuse_training
from .datasets import check_data
from .hooks import seed_all
from .launch import launch
from .models import load_model
from .one_pass import check_one_pass, fit_folder

EXAMPLE = """example, your trained baseline as the start of DenoiseRep:
  python -m denoiserep_ext.reid.train_net --config-file your_config.yml \\
      MODEL.META_ARCHITECTURE DenoiseRep MODEL.WEIGHTS your_baseline.pth
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = default_argument_parser()
    parser.description, parser.epilog = __doc__.splitlines()[0], EXAMPLE
    parser.formatter_class = HelpFormatter
    for action in parser._actions:
        if action.dest == 'dist_url':  # the only one that FastReID says nothing of
            action.help = 'address at which the processes of several GPUs or machines meet'
    parser.add_argument('--one-pass', metavar='FOLDER', type=Path,
                        help='no training: fit the predictors on the images below FOLDER, without '
                        'labels, and write MODEL.WEIGHTS denoised to OUTPUT_DIR/model_denoised.pth; '
                        'with MODEL.DENOISEREP.NOISE corruption on those images and worse versions '
                        'of them (default: train)')
    return parser.parse_args(argv)


def main(args: argparse.Namespace, cfg: CfgNode) -> None:
    """What each process runs."""
    default_setup(cfg, args)
    if cfg.SEED >= 0:
        seed_all(cfg.SEED + comm.get_rank())
    if args.one_pass is not None:
        fit_folder(cfg, args.one_pass)
    elif args.eval_only:
        save_results(Trainer.test(cfg, load_model(cfg, cfg.MODEL.WEIGHTS)), cfg)
    else:
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        trainer.train()


def save_results(results: dict[str, Any], cfg: CfgNode) -> None:
    """Write metrics by data set to ``OUTPUT_DIR/results.json``; FastReID only prints them."""
    if not comm.is_main_process():
        return
    if len(cfg.DATASETS.TESTS) == 1:
        results = {cfg.DATASETS.TESTS[0]: results}
    path = Path(cfg.OUTPUT_DIR) / 'results.json'
    write_json({name: {metric: float(value) for metric, value in result.items() if metric != 'dataset'}
                for name, result in results.items()}, path)


def check_resume(cfg: CfgNode, args: argparse.Namespace) -> None:
    """See that there is what to resume from, if that is asked for. A folder without ``last_checkpoint``
    starts from scratch.

    Raises:
        FileNotFoundError: if it names no checkpoint.
    """
    if args.resume and not args.eval_only and (Path(cfg.OUTPUT_DIR) / 'last_checkpoint').is_file():
        last_checkpoint(cfg.OUTPUT_DIR)


def run(argv: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        Exit status: 0, or 2 for bad input or numbers that are not finite, said on stderr. Options, data
        and weights are checked before anything is written.
    """
    args = parse_args(argv)
    logging.basicConfig(format='%(message)s')
    try:
        cfg = read_config(args.config_file, args.opts)
        if args.one_pass is not None:
            check_one_pass(cfg, args.one_pass, args.num_gpus * args.num_machines)
        elif args.eval_only and not cfg.MODEL.WEIGHTS:
            raise ValueError('--eval-only needs MODEL.WEIGHTS.')
        else:
            if not args.eval_only:
                refuse_training(cfg)
            check_data(cfg, not args.eval_only, args.num_gpus * args.num_machines)
            check_resume(cfg, args)
        cfg.freeze()
        require_writable(Path(cfg.OUTPUT_DIR) / 'model_final.pth')
        launch(main, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url, (args, cfg))
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        print(f'train_net: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(run())
