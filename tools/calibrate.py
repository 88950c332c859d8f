#!/usr/bin/env python
"""Denoise a finished model in one pass over images, without training; a plain checkpoint comes out.

CONFIG is a config of MMPretrain, MMDetection or MMSegmentation (.py) or of FastReID (.yml), with or
without DenoiseRep. Images are of its train set, read as in testing, or of any folder. Several processes
share the pass: torchrun --nproc_per_node=2 tools/calibrate.py ...; several machines: --share.
"""
import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

from denoiserep_ext.calibrate.denoising import NOISES, Denoising
from denoiserep_ext.calibrate.host import DataOptions
from denoiserep_ext.calibrate.run import PassOptions, SweepOptions, calibrate, outputs
from denoiserep_ext.calibrate.sweep import STRENGTHS
from denoiserep_ext.core.fit.one_pass import TOKENS
from denoiserep_ext.core.processes import join_processes, leave_processes


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', type=Path, help='trained checkpoint of its model')
    parser.add_argument('--out', type=Path, help='checkpoint to write')
    what = parser.add_argument_group('what is taken out')
    what.add_argument('--noise', choices=NOISES, help='unit (default; the paper) or relative, in front '
                      'of layers; within_class, of the final embedding, from labels')
    what.add_argument('--strength', type=float, metavar='LEVEL', help='noise level of the full step; '
                      'within_class: 1 by default; otherwise the paper\'s steps by default')
    what.add_argument('--step-stride', type=int, default=1, metavar='N',
                      help="the paper's schedule, stretched")
    what.add_argument('--steps', type=int, nargs='+', metavar='T', help='one step per layer')
    what.add_argument('--update', choices=('reverse', 'posterior'), default='reverse')
    what.add_argument('--layers', nargs='+', metavar='SELECTION',
                      help="'auto', 'all', one regular expression, or several name suffixes")
    what.add_argument('--target', help="part of the model, '' for all (default: the backbone)")
    what.add_argument('--place', choices=('classifier', 'features'), default='classifier',
                      help="MMPretrain, within_class: in the classifier's input, free; or in the "
                      'features that retrieval takes, too')
    what.add_argument('--centre', action='store_true', help='within_class: leave the mean of embeddings '
                      'out, which counts where they are compared by cosine; a sweep tries both')
    images = parser.add_argument_group('images')
    images.add_argument('--images', type=int, default=1024, metavar='N',
                        help='images of the pass; 0: all')
    images.add_argument('--image-folder', type=Path, help='take them from below this folder, unlabelled')
    images.add_argument('--tokens', type=int, default=TOKENS, metavar='N',
                        help='feature vectors per image and layer; 0: all, several times slower')
    images.add_argument('--batch-size', type=int)
    images.add_argument('--workers', type=int, help='loading processes')
    images.add_argument('--seed', type=int, default=0)
    share = parser.add_argument_group('moments')
    share.add_argument('--save-moments', type=Path, metavar='FILE')
    share.add_argument('--moments', type=Path, nargs='+', default=[], metavar='FILE',
                       help='merge these instead of a pass')
    share.add_argument('--share', default='1/1', metavar='K/N',
                       help='run share K of N and save its moments')
    sweep = parser.add_argument_group('choosing the strength')
    sweep.add_argument('--sweep', nargs='*', type=float, metavar='LEVEL', help='try strengths (default: '
                       f'{" ".join(map(str, STRENGTHS))}) on validation images, report the best on the '
                       'test set, write it if it gains')
    sweep.add_argument('--noises', nargs='+', choices=NOISES,
                       help='kinds to try (default: all that fit)')
    sweep.add_argument('--metric', help='metric to choose by; higher is better')
    sweep.add_argument('--val-images', type=int, default=1024, metavar='N', help='0: all')
    sweep.add_argument('--val-parts', type=int, default=10, metavar='N',
                       help='OpenMMLab: parts of the validation images that are scored apart')
    sweep.add_argument('--val-dataset', help='FastReID: registered data set to validate on, instead of '
                       'train identities kept apart')
    sweep.add_argument('--write-anyway', action='store_true')
    parser.add_argument('--overwrite', action='store_true', help='replace files that are there')
    parser.add_argument('--unsafe', action='store_true',
                        help='allow a checkpoint that can run code; only files you trust')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='overrides of an OpenMMLab config')
    parser.add_argument('--opts', nargs='+', default=[], metavar='KEY VALUE',
                        help='overrides of a FastReID config')
    return parser.parse_args()


def read_share(text):
    """``(k, n)`` of ``K/N``."""
    index, slash, of = text.partition('/')
    if not (slash and index.isdecimal() and of.isdecimal()):
        raise ValueError(f'share {text!r} is none: give K/N, say 1/4.')
    return int(index), int(of)


def build_host(args, data):
    """The model with its images and evaluator."""
    validating = args.sweep is not None
    if Path(args.config).suffix in ('.yml', '.yaml'):
        from denoiserep_ext.calibrate.fastreid import FastReID
        host = FastReID(args.config, args.checkpoint, data, validating, args.val_dataset,
                        args.metric or 'mAP', args.opts)
    else:
        from denoiserep_ext.calibrate.openmmlab import OpenMMLab
        host = OpenMMLab(args.config, args.checkpoint, data, validating, args.place, args.metric,
                         args.val_parts, args.cfg_options, args.unsafe)
    if args.target is not None:
        host.target = args.target
    if args.layers is not None:
        host.layers = args.layers[0] if len(args.layers) == 1 else args.layers
    return host


def run(args):
    """Check the options, then calibrate."""
    noise = args.noise or 'unit'
    strength = 1.0 if noise == 'within_class' and args.strength is None else args.strength
    denoising = Denoising(noise, strength, args.step_stride, args.steps, args.update,
                          args.centre and noise == 'within_class')
    options = PassOptions(args.tokens or None, args.seed, read_share(args.share), args.moments,
                          args.save_moments)
    data = DataOptions(args.images or None, args.image_folder, args.val_images or None, args.seed,
                       args.batch_size, args.workers)
    if args.out is None and not options.partial:
        raise ValueError('--out names the checkpoint to write; it is missing.')
    sweeping = args.sweep is not None
    noises = args.noises or ([args.noise] if args.noise else NOISES) if sweeping else [noise]
    written = outputs(args.out, sweeping, 'within_class' in noises) if args.out is not None else []
    for path in (*written, *([args.save_moments] if args.save_moments else [])):
        if path.exists() and not args.overwrite:
            raise FileExistsError(f'{path} exists: choose another name, or pass --overwrite.')
    host = build_host(args, data)
    sweep = None
    if args.sweep is not None:
        fitting = [kind for kind in NOISES if kind != 'within_class' or host.classes]
        noises = args.noises or ([args.noise] if args.noise else fitting)
        sweep = SweepOptions(noises, args.sweep or STRENGTHS, args.write_anyway)
    calibrate(host, args.out, denoising, options, sweep)


def main():
    args = parse_args()
    join_processes()
    try:
        run(args)
    except (ValueError, FileNotFoundError, FileExistsError, FloatingPointError, ImportError) as error:
        sys.exit(f'calibrate: {error}')
    except KeyboardInterrupt:
        sys.exit('calibrate: interrupted; no checkpoint was written.')
    finally:
        leave_processes(together=False)


if __name__ == '__main__':
    main()
