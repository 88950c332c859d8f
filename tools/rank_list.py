#!/usr/bin/env python
"""Pictures of a re-ID model before and after: rank lists of some queries, and distances.

Queries are drawn at random (--seed), not chosen by what became of them; --queries names them.
"""
import argparse
import sys
from pathlib import Path

import numpy as np

from denoiserep_ext.command_line import tool_parser
from denoiserep_ext.reid import read_config
from denoiserep_ext.reid.datasets import check_data
from denoiserep_ext.reid.pictures import save_distances, save_rank_lists
from denoiserep_ext.reid.ranking import embed_test_set, rankings

EXAMPLE = """four queries before and after:
  python tools/rank_list.py --config-file your_config.yml --before model.pth --after denoised.pth \\
      --out pictures
"""


def parse_args():
    parser = tool_parser(__doc__, EXAMPLE)
    parser.add_argument('--config-file', required=True, help='config of the model')
    parser.add_argument('--before', required=True, help='plain checkpoint before')
    parser.add_argument('--after', required=True, help='plain checkpoint after')
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures')
    parser.add_argument('--dataset', help='registered data set (default: first of DATASETS.TESTS)')
    parser.add_argument('--count', type=int, default=4, help='queries to draw')
    parser.add_argument('--queries', type=int, nargs='+', metavar='N', help='these queries instead '
                        '(default: drawn)')
    parser.add_argument('--seed', type=int, default=0, help='of the draw')
    parser.add_argument('--top', type=int, default=8, help='matches per query')
    parser.add_argument('opts', nargs=argparse.REMAINDER, help='KEY VALUE overrides of the config')
    return parser.parse_args()


def choose(args, num_query):
    """The queries to show."""
    if args.queries is None:
        count = min(args.count, num_query)
        return sorted(np.random.default_rng(args.seed).choice(num_query, count, replace=False).tolist())
    outside = [query for query in args.queries if not 0 <= query < num_query]
    if outside:
        raise ValueError(f'there is no query {outside[0]}: they are numbered 0 to {num_query - 1}.')
    return args.queries


def main():
    args = parse_args()
    try:
        for path in (args.before, args.after):
            if not Path(path).is_file():
                raise FileNotFoundError(f'{path}: no such checkpoint.')
        cfg = read_config(args.config_file, [*args.opts, 'MODEL.WEIGHTS', ''])
        dataset = args.dataset or cfg.DATASETS.TESTS[0]
        cfg.DATASETS.TESTS = (dataset, )
        check_data(cfg, train=False)
        before, after = (embed_test_set(cfg, weights, dataset) for weights in (args.before, args.after))
        queries = choose(args, before.num_query)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'rank_list: {error}')
    save_rank_lists(before, after, queries, args.out / 'rank_lists.png', args.top)
    areas = save_distances(before, after, args.out / 'distances.png')
    for name, embeddings in (('before', before), ('after', after)):
        mean = np.nanmean([ranking.average_precision for ranking in rankings(embeddings)])
        print(f'{name:<7} mAP {100 * mean:.2f}, same pair nearer with probability {areas[name]:.4f}')
    print(f'pictures: {args.out}/rank_lists.png, {args.out}/distances.png')


if __name__ == '__main__':
    main()
