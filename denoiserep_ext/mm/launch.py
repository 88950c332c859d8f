"""What the command-line tools share: arguments, a config and a Runner from them."""
from __future__ import annotations

import argparse
import os
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..command_line import tool_parser
from .cpu import adapt_to_cpu_
from .models import require_toolbox
from .stacks import repair_package_names


def runner_parser(description: str, example: str) -> argparse.ArgumentParser:
    """The arguments every OpenMMLab tool has."""
    parser = tool_parser(description, example)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs and checkpoints go '
                        '(default: work_dirs/NAME OF CONFIG)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='overrides of the config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='what has started several processes, if anything')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help='of this process; launchers set it')
    return parser


def read_config(path: str | Path) -> Config:
    """A config from a file, on either stack."""
    repair_package_names()
    return Config.fromfile(path)


def load_config(args: argparse.Namespace) -> Config:
    """The config the arguments describe."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    require_toolbox(cfg.get('default_scope'))
    return cfg


def build_runner(cfg: Config) -> Runner:
    """A Runner of the config's type, on whatever devices there are."""
    adapt_to_cpu_(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
