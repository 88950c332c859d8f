#!/usr/bin/env python
"""Train any OpenMMLab config: what ``mim train denoiserep_ext CONFIG`` runs."""
from pathlib import Path

from denoiserep_ext.mm.launch import build_runner, load_config, runner_parser

EXAMPLE = """the small ViT on the handwritten digits:
  python -m denoiserep_ext digits data/digits
  python tools/train.py configs/mmpretrain/digits/vit-tiny_1xb64_digits.py
"""


def main():
    parser = runner_parser(__doc__, EXAMPLE)
    parser.add_argument('--resume', nargs='?', const='auto', help='go on from the latest checkpoint '
                        'of the work directory, or from the one given (default: start from scratch)')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate to the batch size')
    args = parser.parse_args()
    cfg = load_config(args)
    if args.resume == 'auto':  # a run that was ended before its first checkpoint starts where it started
        cfg.resume = (Path(cfg.work_dir) / 'last_checkpoint').is_file()
        cfg.load_from = None if cfg.resume else cfg.get('load_from')
    elif args.resume:
        cfg.resume, cfg.load_from = True, args.resume
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        cfg.auto_scale_lr.enable = True
    build_runner(cfg).train()


if __name__ == '__main__':
    main()
