"""Run by two processes: take out noise that is shown, and note what each rank ends with."""
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from denoiserep_ext.core.processes import leave_processes
from denoiserep_ext.mm.pairs import TrainImages
from tests.mm.helpers import build, classifier_config


def main(out: str, digits: str, baseline: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    hook = dict(recipe='frozen', noise='corruption', corruptions=['contrast@5'], images=96,
                target='backbone.layer4', positions=8)
    cfg = classifier_config(Path(out) / 'run', Path(digits), backbone='resnet', hook=hook,
                            load_from=baseline, launcher='pytorch',
                            model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None,
                                                   broadcast_buffers=False))
    cfg.test_dataloader.batch_size = 12
    read = []
    size = TrainImages.size  # looked at for every image, clean and worse
    TrainImages.size = lambda self, sample: read.append(
        sample['data_samples'].img_path) or size(self, sample)
    runner = build(cfg)
    runner.train()
    torch.save({'state': runner.model.module.state_dict(), 'read': sorted(set(read))},
               Path(out) / f'rank{dist.get_rank()}.pt')
    leave_processes()


if __name__ == '__main__':
    main(*sys.argv[1:])
