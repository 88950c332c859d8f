"""Run by two processes: a detector and a segmentor under DDP on gloo, whole and resumed."""
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from denoiserep_ext.core.processes import leave_processes
from denoiserep_ext.mm.cpu import adapt_to_cpu_
from tests.mm.ddp_worker import state
from tests.mm.dense import dense_config, middle_and_last
from tests.mm.helpers import train

RUNS = {'detector': dict(), 'segmentor': dict(solver='sgd')}


def run(kind: str, folder: Path, scenes: Path, **more):
    cfg = dense_config(kind, folder, scenes, hook={'interval': 3, **RUNS[kind]}, launcher='pytorch',
                       **more)
    cfg.train_dataloader.batch_size = 2
    assert adapt_to_cpu_(cfg)
    return train(cfg)


def main(out: str, scenes: str, detector: str, segmentor: str) -> None:
    torch.set_num_threads(1)
    out, scenes, baselines = Path(out), Path(scenes), {'detector': detector, 'segmentor': segmentor}
    for kind in RUNS:
        runner = run(kind, out / kind / 'whole', scenes, load_from=baselines[kind])
        torch.save(state(runner), out / f'{kind}-rank{dist.get_rank()}.pt')
        run(kind, out / kind / 'resumed', scenes, resume=True,
            load_from=str(out / kind / 'whole' / middle_and_last(kind)[0]))
    leave_processes()


if __name__ == '__main__':
    main(*sys.argv[1:])
