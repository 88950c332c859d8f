"""A real Runner on a small MMPretrain classifier and the embedded digits."""
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from tests.mm import quick  # noqa: F401

HOOK = 'denoiserep_ext.DenoiseRepHook'
# Options of the hook.
RECIPES = [dict(), dict(solver='sgd'), dict(recipe='frozen'), dict(recipe='frozen', solver='sgd'),
           dict(recipe='alternate', period=1), dict(recipe='alternate', period=1, solver='sgd')]
STRONG = dict(update='posterior', step_stride=10, noise='relative')


def ids(options: dict) -> str:
    """Name of a test with such options of the hook."""
    return '-'.join(map(str, options.values())) or 'default'


def classifier_config(work_dir: Path, digits: Path, *, backbone: str = 'vit', epochs: int = 2,
                      hook: dict | None = None, **overrides: Any) -> Config:
    """A stock MMPretrain config; with ``hook`` it gets the one line.

    Args:
        work_dir: Where the run writes.
        digits: Folder written by ``write_image_folder``.
        backbone: ``'vit'`` (with dropout), ``'resnet'`` (with BatchNorm) or ``'vmamba'`` (both absent,
            with stochastic depth).
        epochs: Epochs of 4 iterations of 64 images.
        hook: Options of the hook, None for no hook.
        **overrides: Top-level keys.
    """
    backbones = {
        'vit': (dict(type='VisionTransformer', img_size=16, patch_size=8, drop_rate=0.1,
                     arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)),
                None, dict(type='VisionTransformerClsHead', num_classes=10, in_channels=16)),
        'resnet': (dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
                   dict(type='GlobalAveragePooling'),
                   dict(type='LinearClsHead', num_classes=10, in_channels=32)),
        'vmamba': (dict(type='denoiserep_ext.VMamba', arch=dict(dims=16, depths=(1, 1)),
                        out_indices=(-1, ), drop_path_rate=0.1),
                   dict(type='GlobalAveragePooling'),
                   dict(type='LinearClsHead', num_classes=10, in_channels=32)),
    }
    body, neck, head = backbones[backbone]
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16)),
                dict(type='PackInputs')]

    def loader(split, size, shuffle, indices):
        return dict(batch_size=size, num_workers=0, persistent_workers=False,
                    dataset=dict(type='CustomDataset', data_root=str(digits), data_prefix=split,
                                 pipeline=pipeline, indices=indices),
                    sampler=dict(type='DefaultSampler', shuffle=shuffle),
                    collate_fn=dict(type='default_collate'))

    cfg = dict(
        default_scope='mmpretrain',
        model=dict(type='ImageClassifier', backbone=body, neck=neck, head=head,
                   data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=10,
                                          mean=[76.] * 3, std=[94.] * 3, to_rgb=False)),
        train_dataloader=loader('train', 64, True, list(range(0, 1024, 4))),
        val_dataloader=loader('val', 120, False, list(range(0, 359, 3))),
        test_dataloader=loader('val', 120, False, list(range(0, 359, 3))),
        val_evaluator=dict(type='Accuracy'), test_evaluator=dict(type='Accuracy'),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.05)),
        param_scheduler=dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=epochs),
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=1), val_cfg=dict(),
        test_cfg=dict(),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1),
                           checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[] if hook is None else [dict(type=HOOK, **hook)],
        randomness=dict(seed=0), work_dir=str(work_dir), log_level='WARNING')
    cfg.update(overrides)
    return Config(cfg)


def build(cfg: Config) -> Runner:
    """A Runner with a name of its own, so that several live in one process."""
    cfg = copy.deepcopy(cfg)
    cfg.experiment_name = f'{Path(cfg.work_dir).name}-{build.count}'
    build.count += 1
    return Runner.from_cfg(cfg)


build.count = 0


def train(cfg: Config) -> Runner:
    """Train to the end."""
    runner = build(cfg)
    runner.train()
    return runner


def load(path: Path) -> dict:
    """A checkpoint of our own making."""
    return torch.load(path, map_location='cpu', weights_only=False)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load(path)['state_dict']


def equal(a: dict, b: dict) -> bool:
    """Whether two state dicts hold the same keys and bits."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
