"""Run by two processes: train recipes under DDP on gloo, note what each rank ended with."""
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.core.processes import leave_processes
from tests.mm.helpers import classifier_config, train

RECIPES = {
    'joint': dict(), 'joint-sgd': dict(solver='sgd'),
    'frozen': dict(recipe='frozen', moment_tokens=None),
    'frozen-sgd': dict(recipe='frozen', solver='sgd'),
    'alternate-sgd': dict(recipe='alternate', period=1, solver='sgd'),
    'alternate': dict(recipe='alternate', period=1),
    'fold': dict(fold_interval=2),
}


def backbone_of(name: str) -> str:
    # Local BatchNorm statistics differ over ranks and only rank 0's are saved: a resumed run cannot
    # know the others' when a block in evaluation mode follows one in training mode.
    return 'vit' if 'alternate' in name else 'resnet'


def config(out: Path, digits: Path, name: str, run: str, **more):
    cfg = classifier_config(out / name / run, digits, backbone=backbone_of(name), epochs=3,
                            hook={'interval': 3, **RECIPES[name]}, launcher='pytorch',
                            model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None,
                                                   broadcast_buffers=False), **more)
    cfg.train_dataloader.batch_size = 32
    if backbone_of(name) == 'vit':
        cfg.model.backbone.drop_rate = 0.0
    return cfg


def main(out: str, digits: str, vit: str, resnet: str, *names: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    out, digits, baselines = Path(out), Path(digits), {'vit': vit, 'resnet': resnet}
    for name in names:
        runner = train(config(out, digits, name, 'whole', load_from=baselines[backbone_of(name)]))
        torch.save(state(runner), out / f'{name}-rank{dist.get_rank()}.pt')
        train(config(out, digits, name, 'resumed', resume=True,
                     load_from=str(out / name / 'whole/epoch_2.pth')))
    leave_processes()


def state(runner) -> dict:
    model = runner.model.module
    return {'parameters': {k: v.detach().clone() for k, v in model.state_dict().items()
                           if 'running' not in k and 'num_batches' not in k},
            'fitted': [bool(layer.denoiser.fitted) for _, layer in denoise_layers(model)]}


if __name__ == '__main__':
    main(*sys.argv[1:])
