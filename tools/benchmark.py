#!/usr/bin/env python
"""Training step of the default hook and of the paper's predictors against the plain step, and the
fused backbone's forward against the stock one's.

All variants run in one process, in turns, in mmengine's real Runner: a classifier on random images, a
detector or a segmentor on drawn scenes. Figures are medians and their ratios. Nothing is downloaded.
"""
import argparse
import json
import platform
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch.utils.data import Dataset

from denoiserep_ext import convert_, fit_one_pass_, fuse_
from denoiserep_ext.compare.costs import in_turns, inference_costs
from denoiserep_ext.compare.measure import parameter_ratio, step_times
from denoiserep_ext.core.recipes import JOINT, enter_phase_
from denoiserep_ext.core.running import RunningMoments
from denoiserep_ext.datasets.scenes import CLASSES, SceneConfig, write_scenes
from denoiserep_ext.mm.cpu import adapt_to_cpu_
from denoiserep_ext.mm.launch import read_config
from denoiserep_ext.mm.models import build_model

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'

VARIANTS = {
    'plain': None,
    'default hook (joint, one pass)': dict(),
    'paper: SGD predictors, all tokens': dict(solver='sgd'),
    'SGD predictors, 256 tokens': dict(solver='sgd', tokens=256),
    'SGD predictors, rank 16': dict(solver='sgd', rank=16),
}


@DATASETS.register_module()
class RandomImages(Dataset):
    """The same random image over and over, uint8 [3, size, size], with labels."""

    def __init__(self, size):
        self.image = torch.randint(0, 256, (3, size, size), dtype=torch.uint8,
                                   generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return 1024

    def __getitem__(self, index):
        from mmpretrain.structures import DataSample
        return {'inputs': self.image, 'data_samples': DataSample().set_gt_label(index % 10)}


def vit_small(batch_size, size, hook, work_dir):
    return Config(dict(
        default_scope='mmpretrain',
        model=dict(
            type='ImageClassifier',
            backbone=dict(type='VisionTransformer', arch='deit-small', img_size=size, patch_size=16),
            head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=384),
            data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=10, mean=[127.0] * 3,
                                   std=[64.0] * 3)),
        train_dataloader=dict(batch_size=batch_size, num_workers=0, persistent_workers=False,
                              dataset=dict(type='RandomImages', size=size, _scope_='mmengine'),
                              collate_fn=dict(type='default_collate')),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-4)),
        custom_hooks=[] if hook is None else [dict(type='denoiserep_ext.DenoiseRepHook', **hook)]))


def dense(shipped, scenes_config, batch_size, size, hook, work_dir):
    """The model and optimiser of a shipped config on scenes of the size asked for."""
    scenes = work_dir / f'scenes-{size}'
    write_scenes(scenes, SceneConfig(size=size, train=64, val=1, test=1))
    cfg, data = read_config(CONFIGS / shipped), read_config(CONFIGS / scenes_config)
    loader = data.train_dataloader
    loader.batch_size, loader.dataset.data_root = batch_size, f'{scenes}/'
    for transform in loader.dataset.pipeline:
        if transform.type == 'Resize':
            transform.scale = (size, size)
    cfg = Config(dict(
        default_scope=cfg.default_scope, model=cfg.model, optim_wrapper=cfg.optim_wrapper,
        train_dataloader=loader,
        custom_hooks=[] if hook is None else [dict(type='denoiserep_ext.DenoiseRepHook', **hook)]))
    cfg.model.backbone.init_cfg = None
    cfg.model.pop('pretrained', None)
    if cfg.default_scope == 'mmseg':
        cfg.model.data_preprocessor.size = (size, size)
        cfg.model.decode_head.num_classes = len(CLASSES) + 1
    adapt_to_cpu_(cfg)
    return cfg


MODELS = {
    'vit-s': vit_small,
    'mask-rcnn-r50': partial(dense, 'mmdet/coco/mask-rcnn_r50_fpn_denoiserep-joint_1x_coco.py',
                             'mmdet/_base_/scenes_instance.py'),
    'segformer-b0': partial(
        dense, 'mmseg/ade20k/segformer_mit-b0_denoiserep-joint_8xb2-160k_ade20k-512x512.py',
        'mmseg/_base_/scenes.py'),
}


def solving_time(config, size):
    """Median seconds of one solving from running moments."""
    model = build_model(config).backbone
    convert_(model)
    running = RunningMoments(model)
    model.train()
    enter_phase_(model, JOINT)  # layers of frozen stages learn, too
    model(torch.randn(2, 3, size, size))
    return in_turns({'solve': lambda: running.refresh(solve=True)}, repeats=3, warmup=1)['solve']


def fused_and_stock(config, size):
    """Costs of a fused backbone's forward, one image, against stock."""
    ours, stock = (build_model(config).eval().backbone for _ in range(2))
    image = torch.randn(1, 3, size, size)
    convert_(ours)
    fit_one_pass_(ours, [image], tokens=256)
    return inference_costs(fuse_(ours), stock, image)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', choices=list(MODELS), default='vit-s')
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[8, 32])
    parser.add_argument('--size', type=int, default=224, help='image size in pixels')
    parser.add_argument('--iterations', type=int, default=3, help='timed steps per round')
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--variants', nargs='+', choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/benchmark'))
    parser.add_argument('--out', type=Path, help='JSON file to write')
    args = parser.parse_args()

    print(f'{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, '
          f'torch {torch.__version__}, {args.model} at {args.size} px', flush=True)
    results = []
    for batch_size in args.batch_sizes:
        configs = {name: MODELS[args.model](batch_size, args.size, VARIANTS[name], args.work_dir)
                   for name in dict.fromkeys(['plain', *args.variants])}
        times = step_times(configs, args.work_dir, args.iterations, args.rounds, warmup=4)
        print(f'\nbatch {batch_size:<34} median step    ratio   parameters held')
        for name, seconds in times.items():
            held = 1.0 if VARIANTS[name] is None else parameter_ratio(configs[name])
            ratio = seconds / times['plain']
            print(f'{name:<40} {seconds:8.3f} s  x {ratio:5.2f}   x {held:5.2f}', flush=True)
            results.append({'model': args.model, 'batch_size': batch_size, 'variant': name,
                            'seconds': seconds, 'ratio': ratio, 'parameters': held})
    seconds = solving_time(configs['plain'], args.size)
    print(f'\none solving of all predictors: {seconds:.2f} s, after 1, 2, 4, ... and then every 100 '
          f'iterations; medians leave it out')
    costs = fused_and_stock(configs['plain'], args.size)
    print('inference, fused over stock backbone: time x {:.2f}, operators {} and {}'.format(
        costs['time'], *costs['operators']))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({'steps': results, 'inference': costs}, indent=2))


if __name__ == '__main__':
    main()
