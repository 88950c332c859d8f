#!/usr/bin/env python
"""Convert an official VMamba checkpoint of ImageNet to one of MMPretrain's ImageClassifier.

The result is for the configs in configs/mmpretrain/imagenet, as load_from or to test. Every tensor is
accounted for: one that does not fit is an error. (Backbones take the official files as they are:
init_cfg=dict(type='Pretrained', checkpoint=...), FastReID's MODEL.BACKBONE.PRETRAIN_PATH; so do
detectors and segmentors theirs, as load_from.)
"""
import sys
from pathlib import Path

from denoiserep_ext.command_line import tool_parser
from denoiserep_ext.core.files.writing import write_whole
from denoiserep_ext.models.vmamba_checkpoints import read_official
from denoiserep_ext.models.vmamba_classifier import convert_classifier

EXAMPLE = """VMamba-T:
  python tools/convert_vmamba.py vssm1_tiny_0230s_ckpt_epoch_264.pth checkpoints/vmamba-tiny_in1k.pth
"""


def parse_args():
    parser = tool_parser(__doc__, EXAMPLE)
    parser.add_argument('checkpoint', help='official file, or its URL')
    parser.add_argument('out', type=Path, help='file to write')
    parser.add_argument('--unsafe', action='store_true',
                        help='allow a pickle that can run code; only for files you trust')
    return parser.parse_args()


def main():
    args = parse_args()
    try:
        if args.out.exists():
            raise FileExistsError(f'{args.out} exists: remove it or choose another name.')
        arch, state = convert_classifier(read_official(args.checkpoint, args.unsafe))
    except (OSError, ValueError) as error:
        sys.exit(f'convert_vmamba: {args.checkpoint}: {error}')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole({'state_dict': state}, args.out)
    print(f'{args.out}: arch={arch!r}, {len(state)} tensors, all of the file')


if __name__ == '__main__':
    main()
