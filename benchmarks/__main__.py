"""All ratios of time, memory and parameters in one run. Every ratio is of medians taken in turns within
this run; figures of two machines or runs cannot be compared in seconds. Nothing is downloaded.

    python -m benchmarks                      everything, ViT-S/16 and ResNet-50 at 224 px
    python -m benchmarks --sections scan                     VMamba's selective scan
    python -m benchmarks --sections pairs --models vit-s resnet50 swin-t    denoising from pairs
    python -m benchmarks --sections training --models mask-rcnn-r50 --batch-sizes 2 --size 256
"""
from __future__ import annotations

import argparse
import platform
from pathlib import Path

import torch

from denoiserep_ext.command_line import HelpFormatter
from denoiserep_ext.core.files.writing import write_json

from . import inference, memory, one_pass, pairs, report, scan, training, vmamba
from .models import CLASSIFIERS, MODELS
from .timing import DEVICE, PRECISIONS

SECTIONS = ('training', 'pass', 'after the pass', 'inference', 'memory', 'pairs', 'scan', 'vmamba')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__,
                                     formatter_class=HelpFormatter)
    parser.add_argument('--sections', nargs='+', choices=SECTIONS, default=list(SECTIONS),
                        help='what is measured')
    parser.add_argument('--models', nargs='+', choices=list(MODELS), default=['vit-s', 'resnet50'],
                        help='for the pass, inference and memory; training takes the first')
    parser.add_argument('--sizes-of', nargs='+', choices=list(CLASSIFIERS),
                        default=['vit-t', 'vit-s', 'vit-b', 'resnet50'],
                        help='models whose converting, solving and fusing is timed')
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[8, 32],
                        help='of training steps; the pass takes the largest')
    parser.add_argument('--size', type=int, default=224, help='image size in pixels')
    parser.add_argument('--iterations', type=int, default=7, help='timed training steps of each variant')
    parser.add_argument('--repeats', type=int, default=7, help='timed batches of the pass')
    parser.add_argument('--pairs', type=int, default=256, help='images, each clean and worse')
    parser.add_argument('--amp', choices=PRECISIONS, default='bfloat16' if DEVICE == 'cuda' else 'none',
                        help='mixed precision of training, the pass, inference, pairs and vmamba; '
                             'bfloat16 on a GPU, which it needs')
    parser.add_argument('--scans', nargs='+', choices=list(scan.VARIANTS), default=list(scan.VARIANTS),
                        help='of the selective scan')
    parser.add_argument('--variants', nargs='+', choices=list(training.VARIANTS),
                        default=list(training.VARIANTS), help='of training')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/benchmarks'),
                        help='where everything goes')
    parser.add_argument('--out', type=Path, help='JSON to write (default: results.json in work-dir)')
    args = parser.parse_args()
    if args.amp != 'none' and DEVICE == 'cpu':
        parser.error(f'--amp {args.amp} needs a GPU: leave it out on a CPU.')
    return args


def machine() -> str:
    """What the figures were taken on."""
    if DEVICE == 'cuda':
        return f'{torch.cuda.get_device_name()}, torch {torch.__version__}'
    names = [line.partition(':')[2].strip() for line in Path('/proc/cpuinfo').read_text().splitlines()
             if line.startswith('model name')] if Path('/proc/cpuinfo').exists() else []
    return (f'{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads, '
            f'torch {torch.__version__}')


def main() -> None:
    args = parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    print(f'{machine()}; {args.size} px; mixed precision: {args.amp}', flush=True)
    results: dict[str, list] = {}

    def note(section: str, rows: list) -> None:
        results.setdefault(section, []).extend(rows)
        print(f'\n{section}\n{report.table(rows)}', flush=True)

    if 'training' in args.sections:
        for batch_size in args.batch_sizes:
            note('training', training.run(args.models[0], batch_size, args.size, args.variants,
                                          args.iterations, args.work_dir, args.amp))
    batch_size = max(args.batch_sizes)
    for name in args.models:
        if 'pass' in args.sections:
            note('pass', one_pass.run(name, batch_size, args.size, args.repeats, args.work_dir,
                                      args.amp))
    if 'after the pass' in args.sections:
        note('after the pass', [one_pass.after(n, args.size, args.work_dir) for n in args.sizes_of])
    if 'inference' in args.sections:
        note('inference', [inference.run(n, args.size, 3 * args.repeats, args.work_dir, args.amp)
                           for n in args.models])
    if 'memory' in args.sections:
        note('memory', [memory.run(n, batch_size, args.size, args.work_dir) for n in args.models])
    if 'pairs' in args.sections:
        note('pairs', [pairs.run(n, args.pairs, batch_size, args.size, args.work_dir, args.amp)
                       for n in args.models])
    if 'scan' in args.sections:
        note('scan by length', scan.growth(min(args.batch_sizes), args.repeats))
        note('scan', scan.run(min(args.batch_sizes), args.repeats, args.scans))
    if 'vmamba' in args.sections:
        backends = [name for name in args.scans if name in ('chunked', 'triton')]
        note('vmamba', vmamba.run('tiny', batch_size, args.size, args.repeats, backends, args.amp))
    out = args.out or args.work_dir / 'results.json'
    write_json({'machine': machine(), 'size': args.size, 'amp': args.amp, **results}, out)
    drawn = report.save_picture(results, out.with_suffix('.png'))
    print(f'\nfigures: {out}' + f'; picture: {out.with_suffix(".png")}' * drawn)


if __name__ == '__main__':
    main()
