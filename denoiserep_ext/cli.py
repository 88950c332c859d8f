"""``python -m denoiserep_ext``: look at what would be converted, write the embedded data."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .command_line import HelpFormatter, tool_parser
from .core.layer.config import DenoiseRepConfig
from .core.layer.conversion import convert_
from .core.layer.selection import find_part
from .version import __version__

EXAMPLES = {
    'inspect': 'a model of timm:\n  python -m denoiserep_ext inspect timm:vit_base_patch16_224',
    'digits': 'as the configs of the digits expect it:\n  python -m denoiserep_ext digits data/digits',
    'retrieval': 'as the configs of FastReID expect it:\n'
                 '  python -m denoiserep_ext retrieval data/retrieval',
    'scenes': 'as the configs of the scenes expect it:\n'
              '  python -m denoiserep_ext scenes data/scenes --seed 0',
}
# Options and defaults of SceneConfig, which needs NumPy; a test holds them together.
SCENES = {'seed': (0, 'seed of the drawing'), 'size': (128, 'side of the images in pixels'),
          'train': (400, 'images for training'), 'val': (80, 'images for validation'),
          'test': (160, 'images for testing'), 'max_digits': (5, 'most digits in one image')}


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments; the process's own if None.

    Returns:
        Exit status: 0, or 2 for bad input (said on stderr).
    """
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except ModuleNotFoundError as error:
        print(f'denoiserep_ext {args.command}: {error.name} is not installed: pip install '
              f'"denoiserep_ext[{args.extra}]", or bash tools/install.sh in a checkout', file=sys.stderr)
        return 2
    except (ValueError, OSError, ImportError) as error:
        print(f'denoiserep_ext {args.command}: {error}', file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = tool_parser(__doc__, EXAMPLES['inspect'], prog='python -m denoiserep_ext')
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(dest='command', required=True)

    def command(name: str, purpose: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=purpose, description=purpose,
                                   formatter_class=HelpFormatter,
                                   epilog=f'example, {EXAMPLES[name]}')

    inspect = command(
        'inspect', 'print which layers of a model would be converted, at which step, or why not')
    inspect.add_argument('model', help='an OpenMMLab config file (or pkg::config), a FastReID config '
                         'file, timm:NAME or torchvision:NAME; nothing is downloaded')
    inspect.add_argument('--target', default=None,
                         help="part of the model, '' for all (default: backbone for a config)")
    inspect.add_argument('--layers', nargs='+', default=['auto'], metavar='SELECTION',
                         help="'auto', 'all', one regular expression, or several name suffixes")
    inspect.add_argument('--step-stride', type=int, default=1, metavar='N',
                         help='layer l of L gets step (L - l + 1) * N')
    inspect.set_defaults(run=_inspect, extra='all')

    digits = command(
        'digits', "write scikit-learn's handwritten digits as an image folder with "
        'train, val and test parts')
    digits.add_argument('out', type=Path, help='folder to create')
    digits.set_defaults(run=_digits, extra='tools')

    retrieval = command(
        'retrieval', 'write these digits as a re-identification set in the layout of Market-1501: '
        'identities are digit classes, 0-5 to train, 6-9 to test')
    retrieval.add_argument('out', type=Path, help='folder to create')
    retrieval.set_defaults(run=_retrieval, extra='tools')

    scenes = command(
        'scenes', 'write scenes of these digits: boxes and masks in COCO format for detection, '
        'label maps for segmentation')
    scenes.add_argument('out', type=Path, help='folder to create')
    for name, (default, meaning) in SCENES.items():
        scenes.add_argument(f'--{name.replace("_", "-")}', type=int, metavar='N', help=meaning,
                            default=default)
    scenes.set_defaults(run=_scenes, extra='tools')
    return parser


def _inspect(args: argparse.Namespace) -> None:
    layers = args.layers[0] if len(args.layers) == 1 else args.layers
    config = DenoiseRepConfig(layers=layers, step_stride=args.step_stride)
    model, target = _load_model(args.model)
    part = find_part(model, target if args.target is None else args.target)
    print(convert_(part, config))


def _load_model(source: str):
    """A model without pretrained weights, and the part of it that is converted by default."""
    library, _, name = source.partition(':')
    if library in ('timm', 'torchvision') and not name.startswith(':'):
        return _library_model(library, name), ''
    if source.endswith(('.yml', '.yaml')):
        from .reid.models import build_for_inspection
        return build_for_inspection(source)
    try:
        from .mm.models import build_model
    except ImportError as error:
        raise ImportError(f'a config needs mmengine and its toolbox ({error}): bash '
                          f'tools/install.sh, or pip install denoiserep_ext[mmpretrain].') from error
    return build_model(source), 'backbone'


def _library_model(library: str, name: str):
    try:
        if library == 'timm':
            import timm
            return timm.create_model(name, pretrained=False)
        import torchvision
        return torchvision.models.get_model(name, weights=None)
    except ImportError as error:
        raise ImportError(f'{library} is not installed: pip install {library}.') from error
    except (ValueError, RuntimeError) as error:
        raise ValueError(f'{library} has no model {name!r} ({error}).') from error


def _scenes(args: argparse.Namespace) -> None:
    from .datasets.scenes import SceneConfig, write_scenes
    counts = write_scenes(args.out, SceneConfig(**{name: getattr(args, name) for name in SCENES}))
    print(f'{args.out}: digits in ' + ', '.join(f'{split} {count}' for split, count in counts.items()))


def _digits(args: argparse.Namespace) -> None:
    from .datasets.digits import write_image_folder
    counts = write_image_folder(args.out)
    print(f'{args.out}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()))


def _retrieval(args: argparse.Namespace) -> None:
    from .datasets.retrieval import write_retrieval
    counts = write_retrieval(args.out)
    print(f'{args.out}: ' + ', '.join(f'{count} in {folder}' for folder, count in counts.items()))
