#!/usr/bin/env python
"""Write the fused weights of a DenoiseRep training checkpoint alone, ready to publish.

Every checkpoint a run writes is fused already; this leaves out the optimiser and what --resume needs.
"""
import sys

from denoiserep_ext.command_line import tool_parser
from denoiserep_ext.core.files.export import export_plain

EXAMPLE = """the last checkpoint of a run:
  python tools/fuse.py work_dirs/your_config/epoch_20.pth denoised.pth
"""


def main():
    parser = tool_parser(__doc__, EXAMPLE)
    parser.add_argument('checkpoint', help='checkpoint of a DenoiseRep training, OpenMMLab or FastReID')
    parser.add_argument('out', help='file to write')
    parser.add_argument('--unsafe', action='store_true',
                        help='allow a pickle that can run code; only for files you trust')
    args = parser.parse_args()
    try:
        layers = export_plain(args.checkpoint, args.out, unsafe=args.unsafe)
    except (OSError, ValueError) as error:
        sys.exit(f'fuse: {error}')
    print(f'{args.out}: plain weights, {len(layers)} denoised layers fused')


if __name__ == '__main__':
    main()
