"""Run by torchrun with one process: train with the hook under DDP in mixed precision."""
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.core.processes import leave_processes
from tests.cuda.conftest import DEVICE
from tests.mm.helpers import classifier_config, train


def main(out: str, digits: str) -> None:
    cfg = classifier_config(Path(out), Path(digits), backbone='resnet', hook={}, launcher='pytorch')
    if DEVICE == 'cuda':
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    else:
        torch.distributed.init_process_group('gloo')  # mmengine would look for a GPU
        cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None,
                                     broadcast_buffers=False)
    runner = train(cfg)
    assert isinstance(runner.model, DistributedDataParallel)
    assert torch.distributed.get_backend() == ('nccl' if DEVICE == 'cuda' else 'gloo')
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(runner.model))
    leave_processes()


if __name__ == '__main__':
    main(*sys.argv[1:])
