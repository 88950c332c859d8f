#!/usr/bin/env python
"""Control for tools/calibrate.py: BatchNorm statistics re-estimated from images made worse.

Nothing else of the model changes (Schneider et al., NeurIPS 2020). CONFIG is a config of MMPretrain,
MMDetection or MMSegmentation (.py) or of FastReID (.yml); images are drawn from its train set as
tools/calibrate.py draws them, so both see the same ones. No labels. A plain checkpoint comes out.
"""
import sys
from pathlib import Path

from mmengine.config import DictAction

from denoiserep_ext.calibrate.images import DataOptions
from denoiserep_ext.calibrate.norms import BATCH, adapt
from denoiserep_ext.command_line import tool_parser
from denoiserep_ext.core.files.writing import require_writable
from denoiserep_ext.corruptions.names import from_words

EXAMPLE = """BatchNorm statistics of noisy images:
  python tools/adapt_norms.py resnet50.py resnet50.pth --out adapted.pth --corruptions gaussian_noise
"""


def parse_args():
    parser = tool_parser(__doc__, EXAMPLE)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', type=Path, help='trained checkpoint of its model')
    parser.add_argument('--out', type=Path, required=True, help='checkpoint to write')
    parser.add_argument('--corruptions', nargs='+', required=True, metavar='NAME[@SEVERITY]',
                        help='that make the images worse, see tools/calibrate.py')
    parser.add_argument('--severities', nargs='+', type=int, default=[3], metavar='N',
                        help='1 (light) to 5 (heavy), of names without one')
    parser.add_argument('--images', type=int, default=1024, metavar='N',
                        help='how many are used; 0: all')
    parser.add_argument('--image-folder', type=Path, help='take them from below this folder '
                        "(default: the config's train set)")
    parser.add_argument('--batch-size', type=int, default=BATCH,
                        help='images whose statistics are taken together')
    parser.add_argument('--workers', type=int, help="loading processes (default: the config's)")
    parser.add_argument('--seed', type=int, default=0,
                        help='of the images that are drawn and of what makes them worse')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that is there')
    parser.add_argument('--unsafe', action='store_true',
                        help='allow a checkpoint that can run code; only files you trust')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='overrides of an OpenMMLab config')
    parser.add_argument('--opts', nargs='+', default=[], metavar='KEY VALUE',
                        help='overrides of a FastReID config')
    return parser.parse_args()


def build_host(args, data):
    """The model with its images."""
    if Path(args.config).suffix in ('.yml', '.yaml'):
        from denoiserep_ext.calibrate.fastreid import FastReID
        return FastReID(args.config, args.checkpoint, data, options=args.opts)
    from denoiserep_ext.calibrate.openmmlab import OpenMMLab
    return OpenMMLab(args.config, args.checkpoint, data, options=args.cfg_options, unsafe=args.unsafe)


def run(args):
    """Check the options, adapt, write."""
    corruptions = from_words(args.corruptions, args.severities)
    if args.out.exists() and not args.overwrite:
        raise FileExistsError(f'{args.out} exists: choose another name, or pass --overwrite.')
    require_writable(args.out)
    data = DataOptions(args.images or None, args.image_folder, seed=args.seed,
                       batch_size=args.batch_size, workers=args.workers)
    layers = adapt(build_host(args, data), corruptions, args.seed, args.out, args.batch_size)
    print(f'wrote {args.out}: new statistics in {layers} BatchNorm layers, from images made worse by '
          f'{", ".join(map(str, corruptions))}')


def main():
    args = parse_args()
    try:
        run(args)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        sys.exit(f'adapt_norms: {error}')
    except KeyboardInterrupt:
        sys.exit('adapt_norms: interrupted; nothing was written.')


if __name__ == '__main__':
    main()
