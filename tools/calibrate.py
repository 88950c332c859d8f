#!/usr/bin/env python
"""Denoise a finished model by images, without training; a plain checkpoint for the stock host comes out.

CONFIG is a config of MMPretrain, MMDetection or MMSegmentation (.py) or of FastReID (.yml), with or
without DenoiseRep. Images are of its train set, read as in testing, or of any folder. Several processes
share them: torchrun --nproc_per_node=2 tools/calibrate.py ...

Noise that is shown (--noise corruption, --pairs): images and worse versions of them, layer by layer, no
labels. Noise that is assumed (--noise unit, relative) or measured from labels (within_class): one pass.
"""
import sys
from pathlib import Path

from mmengine.config import DictAction

from denoiserep_ext.calibrate.denoising import NOISES, Denoising
from denoiserep_ext.calibrate.images import DataOptions
from denoiserep_ext.calibrate.one_pass import PassOptions
from denoiserep_ext.calibrate.pairs import NOISE as SHOWN
from denoiserep_ext.calibrate.pairs import PairDenoising, PairOptions
from denoiserep_ext.calibrate.plans import STRENGTHS, PairSweepOptions, SweepOptions
from denoiserep_ext.calibrate.run import calibrate, outputs
from denoiserep_ext.command_line import tool_parser
from denoiserep_ext.core.files.writing import require_writable
from denoiserep_ext.core.fit.one_pass import TOKENS
from denoiserep_ext.core.pairs.config import FORMS, PairConfig
from denoiserep_ext.core.processes import join_processes, leave_processes
from denoiserep_ext.corruptions.names import ALL, GROUPS, from_words

EXAMPLE = """to make a classifier stand noise and JPEG, with 500 images and no label:
  python tools/calibrate.py resnet50.py resnet50.pth --out denoised.pth --images 500 \\
      --noise corruption --corruptions gaussian_noise jpeg_compression@4 --severities 3
"""
# Options that only noise that is shown, or only the other kinds, can use.
OF_SHOWN = ('corruptions', 'severities', 'pairs', 'clean_weight', 'form', 'ridge', 'damping',
            'positions', 'held_out', 'memory', 'gpu_memory')
OF_OTHERS = ('strength', 'step_stride', 'steps', 'update', 'place', 'centre', 'tokens', 'save_moments',
             'moments', 'share', 'noises')


def make_parser():
    parser = tool_parser(__doc__, EXAMPLE)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', type=Path, help='trained checkpoint of its model')
    parser.add_argument('--out', type=Path, help='checkpoint to write; a --share of a pass has none')
    add_what(parser.add_argument_group('what is taken out, and where'))
    add_shown(parser.add_argument_group(
        'noise that is shown: corruption', 'images made worse as in ImageNet-C '
        '(pip install denoiserep_ext[corruptions]), or two folders'))
    add_assumed(parser.add_argument_group('other noise: unit, relative, within_class'))
    add_images(parser.add_argument_group('images'))
    add_sweep(parser.add_argument_group('choosing on validation images'))
    parser.add_argument('--overwrite', action='store_true', help='replace files that are there')
    parser.add_argument('--unsafe', action='store_true',
                        help='allow a checkpoint that can run code; only files you trust')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='overrides of an OpenMMLab config')
    parser.add_argument('--opts', nargs='+', default=[], metavar='KEY VALUE',
                        help='overrides of a FastReID config')
    return parser


def add_what(group):
    add = group.add_argument
    add('--noise', choices=(SHOWN, *NOISES), help='corruption; unit (default; the paper) '
        'or relative, in front of layers; within_class, of the final embedding, from '
        'labels')
    add('--layers', nargs='+', metavar='SELECTION', help="'auto', 'all', one regular "
        "expression, or several name suffixes (default: the config's, else 'all' for "
        "corruption, 'auto' for the others)")
    add('--target', help="part of the model, '' for all (default: the config's, else the "
        'backbone)')


def add_shown(group):
    add = group.add_argument
    default = PairConfig()
    add('--corruptions', nargs='+', metavar='NAME[@SEVERITY]', help='names '
        f'({", ".join(ALL)}) or groups ({", ".join(GROUPS)})')
    add('--severities', nargs='+', type=int, default=[3], metavar='N',
        help='1 (light) to 5 (heavy), of names without one')
    add('--pairs', nargs=2, type=Path, metavar=('CLEAN', 'WORSE'), help='folders of the '
        'same scenes under the same names, instead of corruptions')
    add('--clean-weight', type=float, default=default.clean_weight, metavar='X',
        help='weight of clean images against 1 for worse ones: the less, the more is '
        'gained on worse images and lost on clean ones')
    add('--form', choices=FORMS, default=default.form, help='what may change in a layer; '
        'patch: all its weights')
    add('--ridge', type=ridge, default=default.ridge, metavar='X', help="pull towards the "
        "trained weights; auto: chosen layer by layer by cross-validation")
    add('--damping', type=float, default=default.damping, metavar='X',
        help='share of the step that is taken')
    add('--positions', type=int, default=default.positions, metavar='N',
        help='positions drawn per image and layer')
    add('--held-out', type=float, default=default.held_out, metavar='SHARE', help='images '
        'that the judge keeps, who finds without labels whether anything is gained; 0: '
        'no judge')
    add('--memory', type=size, default=default.memory, metavar='BYTES', help='features '
        'kept in the memory of the CPU; what is more goes to a temporary folder (default: 4G)')
    add('--gpu-memory', type=size, default=default.gpu_memory, metavar='BYTES', help='features '
        'kept on the GPU before that (default: as long as half of its memory stays free)')


def add_assumed(group):
    add = group.add_argument
    add('--strength', type=float, metavar='LEVEL', help='noise level of the full step '
        "(default: the paper's steps; within_class: 1)")
    add('--step-stride', type=int, default=1, metavar='N',
        help="unit, relative: the paper's schedule, stretched")
    add('--steps', type=int, nargs='+', metavar='T',
        help='unit, relative: one step per layer (default: by --step-stride)')
    add('--update', choices=('reverse', 'posterior'), default='reverse',
        help='unit, relative: kind of step; reverse is that of the paper')
    add('--place', choices=('classifier', 'features'), default='classifier',
        help="MMPretrain, within_class: in the classifier's input, free; or in "
        'the features that retrieval takes, too')
    add('--centre', action='store_true', help='within_class: leave the mean of embeddings '
        'out, which counts where they are compared by cosine; a sweep tries both')
    add('--tokens', type=int, default=TOKENS, metavar='N', help='feature vectors per image '
        'and layer; 0: all, several times slower')
    add('--save-moments', type=Path, metavar='FILE',
        help='write what the pass has seen, for --moments')
    add('--moments', type=Path, nargs='+', default=[], metavar='FILE',
        help='merge these instead of a pass (default: run the pass)')
    add('--share', default='1/1', metavar='K/N',
        help='run share K of N of the pass on this machine and save its moments')


def add_images(group):
    add = group.add_argument
    add('--images', type=int, default=1024, metavar='N',
        help='how many are used; 0: all')
    add('--image-folder', type=Path, help="take them from below this folder, unlabelled "
        "(default: the config's train set)")
    add('--batch-size', type=int, help="images at a time (default: the config's test batches)")
    add('--workers', type=int, help="loading processes (default: the config's)")
    add('--seed', type=int, default=0, help='of all that is drawn')


def add_sweep(group):
    add = group.add_argument
    add('--sweep', nargs='*', type=float, metavar='LEVEL', help='try settings on '
        'validation images, report the best on the test set, write it if it gains. '
        'Corruption: clean weights, then damping and ridge, by the mean over clean and '
        'worse images. Others: strengths (default: '
        f'{" ".join(map("{:g}".format, STRENGTHS))}; within_class goes on while the '
        'strongest is best)')
    add('--noises', nargs='+', choices=NOISES,
        help='kinds to try (default: all of them that fit)')
    add('--metric', help="metric to choose by; higher is better (default: the task's)")
    add('--val-images', type=int, default=1024, metavar='N',
        help='how many to choose by; 0: all')
    add('--val-parts', type=int, default=10, metavar='N', help='OpenMMLab: parts of the '
        'validation images that are scored apart')
    add('--val-dataset', help='FastReID: registered data set to validate on, instead of '
        'train identities kept apart (default: those)')
    add('--write-anyway', action='store_true',
        help='write a model that gains nothing, too')


def ridge(text):
    """``'auto'`` or a number."""
    return text if text == 'auto' else float(text)


def size(text):
    """Bytes of ``4G``, ``500M``, ``1000``."""
    unit = {'K': 2**10, 'M': 2**20, 'G': 2**30}.get(text[-1:].upper())
    return int(text) if unit is None else int(float(text[:-1]) * unit)


def read_share(text):
    """``(k, n)`` of ``K/N``."""
    index, slash, of = text.partition('/')
    if not (slash and index.isdecimal() and of.isdecimal()):
        raise ValueError(f'share {text!r} is not K/N, as in 1/4.')
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
    elif args.noise == SHOWN and host.layers == 'auto':
        host.layers = 'all'
    return host


def refuse_unfitting(args, parser):
    """Options of one kind of noise are not passed over for another."""
    if args.pairs is not None:
        args.noise = args.noise or SHOWN
    shown, noise = args.noise == SHOWN, args.noise or 'other'
    for name in OF_OTHERS if shown else OF_SHOWN:
        if getattr(args, name) != parser.get_default(name):
            fits = f'{", ".join(NOISES)} noise' if shown else f'--noise {SHOWN}'
            raise ValueError(f'--{name.replace("_", "-")} belongs to {fits}, not to {noise} noise.')
    if not shown:
        return
    if args.sweep:
        raise ValueError('--sweep LEVEL: strengths belong to other noise. For corruption noise --sweep '
                         'alone chooses clean weight, ridge and damping.')
    if args.corruptions is not None and args.pairs is not None:
        raise ValueError('--corruptions makes images worse and --pairs brings worse ones: choose one.')
    if args.corruptions is None and args.pairs is None:
        raise ValueError('Corruption noise has to be shown: name --corruptions, say gaussian_noise '
                         'jpeg_compression, or --pairs CLEAN WORSE.')
    if args.pairs is not None and args.image_folder is not None:
        raise ValueError('--pairs names the folder of the clean images, too: leave out --image-folder.')
    if args.pairs is not None and args.sweep is not None:
        raise ValueError('--sweep scores models on validation images made worse, and of --pairs there '
                         'are none with labels: choose --clean-weight by hand, or name --corruptions.')


def shown_noise(args):
    """Setting, source and plan of noise that is shown."""
    setting = PairDenoising(PairConfig(
        form=args.form, clean_weight=args.clean_weight, ridge=args.ridge, positions=args.positions,
        damping=args.damping, held_out=args.held_out, memory=args.memory, gpu_memory=args.gpu_memory,
        seed=args.seed))
    corruptions = from_words(args.corruptions, args.severities) if args.corruptions else ()
    sweeping = args.sweep is not None
    source = PairOptions(corruptions, args.seed, args.write_anyway and not sweeping)
    plan = PairSweepOptions(setting, corruptions, write_anyway=args.write_anyway) if sweeping else None
    return setting, source, plan


def other_noise(args):
    """Setting, source and plan of noise that is assumed or measured from labels."""
    noise = args.noise or 'unit'
    strength = 1.0 if noise == 'within_class' and args.strength is None else args.strength
    setting = Denoising(noise, strength, args.step_stride, args.steps, args.update,
                        args.centre and noise == 'within_class')
    source = PassOptions(args.tokens or None, args.seed, read_share(args.share), args.moments,
                         args.save_moments)
    noises = args.noises or ([args.noise] if args.noise else NOISES)
    plan = None if args.sweep is None else SweepOptions(noises, args.sweep or None, args.write_anyway)
    return setting, source, plan


def run(args, parser):
    """Check the options, then calibrate."""
    refuse_unfitting(args, parser)
    setting, source, plan = (shown_noise if args.noise == SHOWN else other_noise)(args)
    folder, worse = args.pairs or (args.image_folder, None)
    data = DataOptions(args.images or None, folder, worse, args.val_images or None, args.seed,
                       args.batch_size, args.workers)
    if args.out is None and not source.partial:
        raise ValueError('--out names the checkpoint to write; it is missing.')
    noises = [setting.noise] if plan is None else plan.noises
    written = [] if args.out is None else outputs(args.out, plan is not None, 'within_class' in noises,
                                                  source)
    for path in (*written, *([args.save_moments] if args.save_moments else [])):
        if path.exists() and not args.overwrite:
            raise FileExistsError(f'{path} exists: choose another name, or pass --overwrite.')
        require_writable(path)
    host = build_host(args, data)
    if plan is not None and not args.noises and not args.noise and not host.classes:
        plan = plan.without_labels()
    calibrate(host, args.out, setting, source, plan)


def main():
    parser = make_parser()
    args = parser.parse_args()
    join_processes()
    try:
        run(args, parser)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        sys.exit(f'calibrate: {error}')
    except KeyboardInterrupt:
        sys.exit('calibrate: interrupted; no checkpoint was written.')
    finally:
        leave_processes(together=False)


if __name__ == '__main__':
    main()
