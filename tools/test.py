#!/usr/bin/env python
"""Evaluate a checkpoint with any OpenMMLab config: what ``mim test denoiserep_ext CONFIG`` runs."""
from denoiserep_ext.mm.launch import build_runner, load_config, runner_parser

EXAMPLE = """what tools/train.py has trained:
  python tools/test.py configs/mmpretrain/digits/vit-tiny_1xb64_digits.py \\
      work_dirs/vit-tiny_1xb64_digits/epoch_30.pth
"""


def main():
    parser = runner_parser(__doc__, EXAMPLE)
    parser.add_argument('checkpoint', help='checkpoint file')
    args = parser.parse_args()
    cfg = load_config(args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    build_runner(cfg).test()


if __name__ == '__main__':
    main()
