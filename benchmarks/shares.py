"""Many processes that share a one-pass fit and a paired fit, all on this machine, against one process.

    python -m benchmarks.shares                     64 processes, 256 images
    python -m benchmarks.shares --processes 8

Every process is a real one with its share of the images; they add up their sums by gloo, as under
``torchrun`` or Slurm. Printed: how far all of them are from the fit of one process with all images,
the most memory that one of them held, and the bytes each gave to be added up.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ['OMP_NUM_THREADS'] = '1'  # processes share the cores, and are forks of this one

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch import nn  # noqa: E402

from benchmarks.memory import peak_resident  # noqa: E402
from benchmarks.report import table  # noqa: E402
from denoiserep_ext import DenoiseRepConfig, PairConfig, convert_, denoise_pairs_, fuse_  # noqa: E402
from denoiserep_ext.core.files.writing import write_json  # noqa: E402
from denoiserep_ext.core.fit.one_pass import fit_one_pass_  # noqa: E402
from denoiserep_ext.core.processes import leave_processes  # noqa: E402

BATCH = 4
SIZE = 24  # pixels


class Net(nn.Module):
    """A stem and residual blocks, in float64."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(BasicBlock(width) for _ in range(blocks)))
        self.double().eval()

    def forward(self, x):
        return self.blocks(self.stem(x).relu()).mean((2, 3))


class BasicBlock(nn.Module):
    """Two convs and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return (x + self.conv2(self.conv1(x).relu())).relu()


def one_pass(model: nn.Module, batches: list[torch.Tensor], probe: torch.Tensor) -> None:
    """The one pass, solved and fused."""
    convert_(model, DenoiseRepConfig(layers='all', noise='relative', strength=0.3))
    fit_one_pass_(model, batches, probe=probe, dtype=torch.float64)
    fuse_(model)


def paired(model: nn.Module, batches: list[torch.Tensor], probe: torch.Tensor) -> None:
    """The fit from pairs, every position, without a judge: whose images depend on who reads them."""
    pairs = [(clean, clean + 0.3 * clean.roll(1, -1)) for clean in batches]
    denoise_pairs_(model, pairs, PairConfig(layers='all', positions=SIZE**2, held_out=0.0, ridge=1e-2))


FITS: dict[str, Callable] = {'one pass': one_pass, 'pairs': paired}


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Collectives and bytes that this process gives to be added up."""
    seen, add_up = {'calls': 0, 'bytes': 0}, dist.all_reduce

    def counting(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
        seen['calls'] += 1
        seen['bytes'] += tensor.numel() * tensor.element_size()
        return add_up(tensor, *args, **options)

    dist.all_reduce = counting
    try:
        yield seen
    finally:
        dist.all_reduce = add_up


def share(fit: Callable, model: nn.Module, images: torch.Tensor, rank: int, processes: int,
          folder: Path) -> None:
    """What one process does."""
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank,
                            world_size=processes, timeout=timedelta(minutes=8))
    batches = list(images.split(BATCH))
    with counted() as seen:
        fit(model, batches[rank::processes], batches[0])
    torch.save(model.state_dict(), folder / f'{rank}.pth')
    (folder / f'{rank}.json').write_text(json.dumps({**seen, 'peak': peak_resident()}))
    leave_processes()


def compare(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One process, then many."""
    torch.manual_seed(0)
    images = torch.randn(args.images, 3, SIZE, SIZE, dtype=torch.float64)
    plain = Net(args.width, args.blocks).state_dict()

    def fresh() -> nn.Module:
        model = Net(args.width, args.blocks)
        model.load_state_dict(plain)
        return model

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        for rank, count in ((0, 1), *((rank, args.processes) for rank in range(args.processes))):
            own = Path(folder) / str(count)
            own.mkdir(exist_ok=True)
            if not os.fork():
                status = 1
                try:
                    share(FITS[name], fresh(), images, rank, count, own)
                    status = 0
                finally:
                    os._exit(status)
            if count == 1:
                _wait(1)
                start = time.perf_counter()
        _wait(args.processes)
        seconds = time.perf_counter() - start
        whole = torch.load(Path(folder) / '1/0.pth', weights_only=True)
        alone = json.loads((Path(folder) / '1/0.json').read_text())
        shares = [Path(folder) / f'{args.processes}/{rank}' for rank in range(args.processes)]
        states = [torch.load(path.with_suffix('.pth'), weights_only=True) for path in shares]
        figures = [json.loads(path.with_suffix('.json').read_text()) for path in shares]
    return {'fit': name, 'processes': args.processes, 'images': args.images,
            'changed by the fit': _distance(plain, whole),
            'off from one process': f'{max(_distance(whole, state) for state in states):.1e}',
            'off from each other': f'{max(_distance(states[0], state) for state in states):.1e}',
            'peak of one alone MB': alone['peak'] / 1e6,
            'peak of a share MB': max(own['peak'] for own in figures) / 1e6,
            'sums of each MB': max(own['bytes'] for own in figures) / 1e6,
            'collectives': figures[0]['calls'], 'seconds': seconds}


def _wait(count: int) -> None:
    for _ in range(count):
        _, status = os.wait()
        if status:
            sys.exit('a process failed; its traceback is above')


def _distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Largest difference of a tensor over its largest value."""
    return max(((one[name] - other[name]).abs().max() / one[name].abs().max()).item() for name in one)


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.shares', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--fits', nargs='+', choices=list(FITS), default=list(FITS))
    parser.add_argument('--processes', type=int, default=64)
    parser.add_argument('--images', type=int, default=256)
    parser.add_argument('--width', type=int, default=16, help='channels of the model')
    parser.add_argument('--blocks', type=int, default=2, help='residual blocks of the model')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmarks/shares.json'))
    args = parser.parse_args()
    if args.images < BATCH * args.processes:
        parser.error(f'--images: {args.processes} processes need {BATCH * args.processes} at least')
    rows = [compare(name, args) for name in args.fits]
    print(table(rows))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(rows, args.out)


if __name__ == '__main__':
    main()
