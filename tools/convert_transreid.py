#!/usr/bin/env python
"""Convert a TransReID-SSL checkpoint (ViT-S or ViT-B, with or without ICS stem) to FastReID's keys.

Every tensor is accounted for: backbone tensors are taken, those of heads are named and left, and one
that does not fit is an error. The result is a checkpoint of FastReID's Baseline with
build_transreid_vit_backbone, as MODEL.WEIGHTS. (MODEL.BACKBONE.PRETRAIN_PATH takes the published
self-supervised files as they are.)
"""
import sys
from pathlib import Path

from denoiserep_ext.command_line import tool_parser
from denoiserep_ext.core.files.reading import read_checkpoint
from denoiserep_ext.core.files.writing import write_whole
from denoiserep_ext.reid.backbones import transreid_vit
from denoiserep_ext.reid.transreid import ARCHITECTURES, backbone_state, convert_neck, convert_state

EXAMPLE = """a fine-tuned ViT-S of Market-1501:
  python tools/convert_transreid.py transformer_120.pth vit_s_market1501.pth
"""


def parse_args():
    parser = tool_parser(__doc__, EXAMPLE)
    parser.add_argument('checkpoint', type=Path, help='file of TransReID-SSL')
    parser.add_argument('out', type=Path, help='file to write')
    parser.add_argument('--size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'), default=[256, 128],
                        help='images of the model')
    parser.add_argument('--unsafe', action='store_true',
                        help='allow a pickle that can run code; only for files you trust')
    return parser.parse_args()


def main():
    args = parse_args()
    try:
        if args.out.exists():
            raise FileExistsError(f'{args.out} exists: remove it or choose another name.')
        checkpoint = read_checkpoint(args.checkpoint, args.unsafe)
        state, _ = backbone_state(checkpoint)
        name = next((n for n, a in ARCHITECTURES.items()
                     if a['embed_dim'] == state['cls_token'].shape[-1]), None)
        if name is None:
            raise ValueError(f'its tokens have {state["cls_token"].shape[-1]} channels: neither ViT-S '
                             f'nor ViT-B.')
        depth = f'{name}_ics' if 'patch_embed.conv.0.weight' in state else name
        model = transreid_vit(depth, tuple(args.size))
        grid = model.patch_embed.num_y, model.patch_embed.num_x
        converted = convert_state(checkpoint, model.state_dict(), grid)
        heads, left = convert_neck(checkpoint, model.embed_dim)
    except (OSError, ValueError) as error:
        sys.exit(f'convert_transreid: {args.checkpoint}: {error}')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    backbone = {f'backbone.{key}': value for key, value in converted.state.items()}
    write_whole({'model': {**backbone, **heads}}, args.out)
    print(f'{args.out}: MODEL.BACKBONE.DEPTH {depth}; {converted}')
    fine_tuned = 'bottleneck.weight' in converted.left or 'module.bottleneck.weight' in converted.left
    print(f'BNNeck {"taken" if fine_tuned else "fresh: the file has none"}, classifier '
          f'{"taken" if "heads.weight" in heads else "none"}'
          + (f'; left: {", ".join(left)}' if left else ''))


if __name__ == '__main__':
    main()
