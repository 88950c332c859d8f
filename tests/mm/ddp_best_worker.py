"""Run by two processes: save the best checkpoint in between two regular ones, and note what each rank
holds then."""
import shutil
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.hooks import CheckpointHook, Hook

from denoiserep_ext import DenoiseRepHook
from denoiserep_ext.core.processes import leave_processes
from tests.mm.helpers import build, classifier_config


class Note(Hook):
    priority = 'LOWEST'

    def __init__(self, out: Path) -> None:
        self.out = out

    def after_val_epoch(self, runner, metrics=None) -> None:
        if runner.iter != 3:
            return
        hooks = {kind: next(h for h in runner.hooks if isinstance(h, kind))
                 for kind in (DenoiseRepHook, CheckpointHook)}
        torch.save(hooks[DenoiseRepHook].learner.moments.state_dict(),
                   self.out / f'rank{dist.get_rank()}.pt')
        if dist.get_rank() == 0:
            shutil.copy(hooks[CheckpointHook].best_ckpt_path, self.out / 'best.pth')


def main(out: str, digits: str, baseline: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    cfg = classifier_config(Path(out), Path(digits), load_from=baseline, launcher='pytorch',
                            hook=dict(moment_interval=1), param_scheduler=None,
                            model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None,
                                                   broadcast_buffers=False))
    cfg.train_cfg = dict(by_epoch=False, max_iters=4, val_interval=3)
    cfg.train_dataloader.update(batch_size=16, sampler=dict(type='InfiniteSampler', shuffle=True))
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=2,
                                        save_best='accuracy/top1', rule='greater')
    runner = build(cfg)
    runner.register_hook(Note(Path(out)))
    runner.train()
    leave_processes()


if __name__ == '__main__':
    main(*sys.argv[1:])
