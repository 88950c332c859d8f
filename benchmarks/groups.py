r"""Peak memory of denoising a large model in one pass and in groups of layers, each in a process of its
own.

    python -m benchmarks.groups                     ViT-L and Swin-L, 400 MB of moments at a time
    python -m benchmarks.groups --models vit-l --layers 'layers\.[0-3]\.ffn.*'      four of its blocks
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import table


def run(name: str, memory: int, size: int, layers: str) -> dict[str, Any]:
    """Figures of one model, in MB."""
    peaks = {}
    for case, budget in (('model alone', 0), ('one pass', 1 << 60), ('in groups', memory)):
        command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.groups', '--case', name, '--memory',
                   str(budget), '--size', str(size), '--layers', layers]
        output = subprocess.run(command, check=True, capture_output=True, text=True,
                                cwd=Path(__file__).parents[1]).stdout
        peaks[case] = json.loads(output.splitlines()[-1])
        print(f'{name}, {case}: {peaks[case]}', flush=True)
    whole = peaks['one pass']
    return {'model': name, 'moments of all MB': whole['all'], 'layers': whole['layers'],
            'moments MB': whole['moments'],
            **{f'{case} MB': peak['peak'] for case, peak in peaks.items()},
            'groups': peaks['in groups']['passes']}


def sizes(name: str, memory: int, size: int) -> dict[str, Any]:
    """What the moments of a model take, in MB."""
    from benchmarks.models import backbone
    from denoiserep_ext import DenoiseRepConfig
    from denoiserep_ext.core.fit.groups import groups, held_by
    with tempfile.TemporaryDirectory() as folder:
        model = backbone(name, size, Path(folder))
    held = held_by(model, DenoiseRepConfig())
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return {'model': name, 'weights MB': weights / 1e6, 'moments MB': sum(held.values()) / 1e6,
            'largest layer MB': max(held.values()) / 1e6, 'groups': len(groups(held, memory))}


def one(name: str, memory: int, size: int, layers: str) -> None:
    """One case in this process: two images are enough to fill everything that is held."""
    import torch

    from benchmarks.memory import peak_resident
    from benchmarks.models import DEVICE, backbone
    from denoiserep_ext import DenoiseRepConfig
    from denoiserep_ext.core.fit.groups import denoise_in_groups_, groups, held_by
    with tempfile.TemporaryDirectory() as folder:
        model = backbone(name, size, Path(folder))
    images = torch.randn(2, 3, size, size, device=DEVICE)
    every = held_by(model, DenoiseRepConfig())
    config = DenoiseRepConfig(layers=layers, noise='relative', strength=0.1)
    held = held_by(model, config)
    if memory:
        denoise_in_groups_(model, [images], config, memory)
    else:
        with torch.no_grad():
            model(images)
    peak = torch.cuda.max_memory_allocated() if DEVICE == 'cuda' else peak_resident()
    print(json.dumps({'peak': peak / 1e6, 'all': sum(every.values()) / 1e6, 'layers': len(held),
                      'moments': sum(held.values()) / 1e6, 'passes': len(groups(held, memory))}))


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.groups', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', default=['vit-l', 'swin-l'])
    parser.add_argument('--memory', type=int, default=400 * 10**6, help='bytes of moments at a time')
    parser.add_argument('--size', type=int, default=224, help='image size in pixels')
    parser.add_argument('--layers', default='auto', help="'auto' or a regular expression")
    parser.add_argument('--sizes', action='store_true', help='print what moments take, and run nothing')
    parser.add_argument('--case', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case is not None:
        one(args.case, args.memory, args.size, args.layers)
        return
    if args.sizes:
        print(table([sizes(name, args.memory, args.size)
                     for name in ('resnet50', 'swin-t', 'vit-b', 'swin-l', 'vit-l')]))
        return
    print(table([run(name, args.memory, args.size, args.layers) for name in args.models]))


if __name__ == '__main__':
    main()
