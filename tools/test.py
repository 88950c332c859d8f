#!/usr/bin/env python
"""Evaluate a checkpoint with any OpenMMLab config: what ``mim test denoiserep_ext CONFIG`` runs."""
from denoiserep_ext.mm.launch import build_runner, load_config, runner_parser


def main():
    parser = runner_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    args = parser.parse_args()
    cfg = load_config(args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    build_runner(cfg).test()


if __name__ == '__main__':
    main()
