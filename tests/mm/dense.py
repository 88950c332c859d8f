"""A real Runner on a small detector and a small segmentor and drawn scenes of digits."""
from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from denoiserep_ext.mm.launch import read_config
from tests.mm.helpers import HOOK

CONFIGS = Path(__file__).parents[2] / 'configs'
METRIC = {'detector': 'coco/bbox_mAP', 'segmentor': 'mIoU'}


@HOOKS.register_module(force=True)
class Reseed(Hook):
    """Random state by iteration: a host that samples boxes or drops paths draws the same whether the
    run was resumed or not."""

    priority = 'HIGHEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        random.seed(runner.iter)
        np.random.seed(runner.iter)
        torch.manual_seed(runner.iter)


def detector_config(scenes: Path) -> Config:
    """Mask R-CNN whose stem and first stage are frozen and whose BatchNorm stands still, as in every
    stock detection config."""
    cfg = read_config(CONFIGS / 'mmdet/scenes/mask-rcnn_r18-w16_fpn_1xb8_scenes.py')
    cfg.merge_from_dict(dict(
        model=dict(
            backbone=dict(base_channels=8, frozen_stages=1, norm_eval=True),
            neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
            rpn_head=dict(in_channels=16, feat_channels=16),
            roi_head=dict(
                bbox_roi_extractor=dict(out_channels=16),
                bbox_head=dict(in_channels=16, fc_out_channels=32),
                mask_roi_extractor=dict(out_channels=16),
                mask_head=dict(in_channels=16, conv_out_channels=16)),
            test_cfg=dict(rpn=dict(max_per_img=30), rcnn=dict(score_thr=0.0, max_per_img=20))),
        train_cfg=dict(max_epochs=2, val_interval=1),
        param_scheduler=dict(end=2),
        default_hooks=dict(checkpoint=dict(interval=1, max_keep_ckpts=-1))))
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = f'{scenes}/'
    for split in ('val', 'test'):
        cfg[f'{split}_evaluator'].ann_file = f'{scenes}/annotations/instances_{split}.json'
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=False)
    return cfg


def segmentor_config(scenes: Path) -> Config:
    """SegFormer with dropout and drop-path, trained by iterations."""
    cfg = read_config(CONFIGS / 'mmseg/scenes/fcn_r18-w16-d16_1xb16_scenes.py')
    size = cfg.model.data_preprocessor.size
    cfg.model = read_config(CONFIGS / 'mmseg/ade20k/segformer_mit-b0_denoiserep-joint_8xb2-160k_'
                            'ade20k-512x512.py').model
    cfg.merge_from_dict(dict(
        model=dict(
            data_preprocessor=dict(size=size),
            backbone=dict(embed_dims=8, num_layers=[1, 1, 1, 1], drop_path_rate=0.1, init_cfg=None),
            decode_head=dict(in_channels=[8, 16, 40, 64], channels=16, num_classes=11,
                             norm_cfg=dict(type='BN'))),
        train_cfg=dict(max_iters=8, val_interval=4),
        param_scheduler=dict(end=8),
        default_hooks=dict(checkpoint=dict(interval=4, max_keep_ckpts=-1))))
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = str(scenes)
    return cfg


def dense_config(kind: str, work_dir: Path, scenes: Path, *, hook: dict | None = None,
                 options: dict | None = None, **overrides: Any) -> Config:
    """A stock config; with ``hook`` it gets the one line.

    Args:
        kind: ``'detector'``, two epochs of 4 iterations, or ``'segmentor'``, 8 iterations.
        work_dir: Where the run writes.
        scenes: Folder written by ``write_scenes``.
        hook: Options of the hook, None for no hook.
        options: Nested overrides.
        **overrides: Top-level keys.
    """
    cfg = (detector_config if kind == 'detector' else segmentor_config)(scenes)
    cfg.train_dataloader.batch_size = 4
    cfg.merge_from_dict(options or {})
    cfg.update(dict(
        custom_hooks=[dict(type='Reseed', _scope_='mmengine'),
                      *([] if hook is None else [dict(type=HOOK, **hook)])],
        work_dir=str(work_dir), log_level='WARNING', **overrides))
    return cfg


def middle_and_last(kind: str) -> tuple[str, str]:
    """Names of the two checkpoints of a run."""
    return ('epoch_1.pth', 'epoch_2.pth') if kind == 'detector' else ('iter_4.pth', 'iter_8.pth')


def metrics(runner) -> dict[str, float]:
    """The last validation's figures."""
    return {key.removeprefix('val/'): buffer.current() for key, buffer in
            runner.message_hub.log_scalars.items()
            if key.startswith('val/') and not key.endswith('time')
            and isinstance(buffer.current(), (int, float))}


def retinanet_(cfg: Config) -> Config:
    """Put RetinaNet in the place of a detector config's Mask R-CNN: its heads run once per level with
    the same weights."""
    model = read_config(CONFIGS / 'mmdet/coco/retinanet_r50_fpn_denoiserep-joint_1x_coco.py').model
    model.backbone.update(depth=18, base_channels=8, init_cfg=None)
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    model.bbox_head.update(num_classes=10, in_channels=16, feat_channels=16, stacked_convs=2)
    model.test_cfg.update(score_thr=0.0, max_per_img=20)
    cfg.model = model
    for split in ('val', 'test'):
        cfg[f'{split}_evaluator'].metric = 'bbox'
    return cfg
