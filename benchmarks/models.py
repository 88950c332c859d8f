"""Configs to time: classifiers on random images, a detector and a segmentor on drawn scenes. Nothing is
downloaded."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import nn
from torch.utils.data import Dataset

from denoiserep_ext.datasets.scenes import CLASSES, SceneConfig, write_scenes
from denoiserep_ext.mm import layer_types  # noqa: F401  (mmcv's layers, as the hook knows them)
from denoiserep_ext.mm.cpu import adapt_to_cpu_
from denoiserep_ext.mm.launch import read_config
from denoiserep_ext.mm.models import build_model

from .timing import DEVICE

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'


@DATASETS.register_module()
class RandomImages(Dataset):
    """The same random image over and over, uint8 [3, size, size], with labels."""

    def __init__(self, size: int) -> None:
        self.image = torch.randint(0, 256, (3, size, size), dtype=torch.uint8,
                                   generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return 1024

    def __getitem__(self, index: int) -> dict[str, Any]:
        from mmpretrain.structures import DataSample
        return {'inputs': self.image, 'data_samples': DataSample().set_gt_label(index % 10)}


def vit(arch: str, width: int) -> dict:
    """Model of a ViT/16 classifier."""
    return dict(backbone=dict(type='VisionTransformer', arch=arch, patch_size=16),
                head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=width))


def pooled(backbone: dict, width: int) -> dict:
    """Model of a classifier with average pooling."""
    return dict(backbone=backbone, neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=10, in_channels=width))


CLASSIFIERS = {
    'vit-t': vit('deit-tiny', 192),
    'vit-s': vit('deit-small', 384),
    'vit-b': vit('deit-base', 768),
    'vit-l': vit('large', 1024),
    'resnet50': pooled(dict(type='ResNet', depth=50), 2048),
    'swin-t': pooled(dict(type='SwinTransformer', arch='tiny'), 768),
    'swin-l': pooled(dict(type='SwinTransformer', arch='large'), 1536),
    'mobilenet-v2': pooled(dict(type='MobileNetV2'), 1280),
}


def classifier(name: str, batch_size: int, size: int, hook: dict | None, work_dir: Path,
               amp: str = 'none') -> Config:
    """A classifier of :data:`CLASSIFIERS` on random images."""
    model = dict(type='ImageClassifier', **CLASSIFIERS[name], data_preprocessor=dict(
        type='ClsDataPreprocessor', num_classes=10, mean=[127.0] * 3, std=[64.0] * 3))
    if 'vit' in name:
        model['backbone'] = {**model['backbone'], 'img_size': size}
    return Config(dict(
        default_scope='mmpretrain', model=model,
        train_dataloader=dict(batch_size=batch_size, num_workers=0, persistent_workers=False,
                              dataset=dict(type='RandomImages', size=size, _scope_='mmengine'),
                              collate_fn=dict(type='default_collate')),
        optim_wrapper=_mixed(dict(optimizer=dict(type='AdamW', lr=1e-4)), amp),
        custom_hooks=_hooks(hook)))


def dense(shipped: str, scenes_config: str, batch_size: int, size: int, hook: dict | None,
          work_dir: Path, amp: str = 'none') -> Config:
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
        default_scope=cfg.default_scope, model=cfg.model,
        optim_wrapper=_mixed(cfg.optim_wrapper, amp), train_dataloader=loader,
        custom_hooks=_hooks(hook)))
    cfg.model.backbone.init_cfg = None
    cfg.model.pop('pretrained', None)
    if cfg.default_scope == 'mmseg':
        cfg.model.data_preprocessor.size = (size, size)
        cfg.model.decode_head.num_classes = len(CLASSES) + 1
    adapt_to_cpu_(cfg)
    return cfg


def _hooks(hook: dict | None) -> list[dict]:
    return [] if hook is None else [dict(type='denoiserep_ext.DenoiseRepHook', **hook)]


def _mixed(optim_wrapper: dict, amp: str) -> dict:
    return optim_wrapper if amp == 'none' else {**optim_wrapper, 'type': 'AmpOptimWrapper', 'dtype': amp}


MODELS: dict[str, Callable[..., Config]] = {
    **{name: partial(classifier, name) for name in CLASSIFIERS},
    'mask-rcnn-r50': partial(dense, 'mmdet/coco/mask-rcnn_r50_fpn_denoiserep-joint_1x_coco.py',
                             'mmdet/_base_/scenes_instance.py'),
    'segformer-b0': partial(
        dense, 'mmseg/ade20k/segformer_mit-b0_denoiserep-joint_8xb2-160k_ade20k-512x512.py',
        'mmseg/_base_/scenes.py'),
}


def backbone(name: str, size: int, work_dir: Path) -> nn.Module:
    """A model's backbone with fresh weights, on the device, in evaluation mode."""
    torch.manual_seed(0)
    model = build_model(MODELS[name](1, size, None, work_dir)).backbone.to(DEVICE)
    model.eval()  # returns None in some backbones
    return model
