"""Shipped configs, small enough for a test: two iterations on four small images, no downloads."""
from __future__ import annotations

from typing import Any

from mmengine.config import Config

from denoiserep_ext.core.layer.selection import select
from denoiserep_ext.mm.cpu import adapt_to_cpu_
from denoiserep_ext.mm.models import build_model
from tests.mm.miniature import COUNT

# ImageNet models that take minutes per iteration: the full one is built, its little sister trained.
LIGHTER = {**{(swin, size): ('tiny', 768) for swin in ('SwinTransformer', 'SwinTransformerV2')
              for size in ('small', 'base', 'large')},
           **{('denoiserep_ext.VMamba', size): ('tiny', 768) for size in ('small', 'base')},
           **{('VisionTransformer', size): ('deit-tiny', 192) for size in ('b', 'base', 'deit-small')}}
BLOCKS = 'SwinBlock', 'SwinBlockV2', 'TransformerEncoderLayer', 'VSSBlock'
SIZE = 64
KEEP = dict(max_keep_ckpts=1, save_optimizer=False)  # disks are small


def shrink_(cfg: Config, recipe: str) -> None:
    """Change a config in place; model, hook, optimiser, schedule and data set types stay.

    Args:
        cfg: Any shipped config.
        recipe: Its recipe, or ``'baseline'``.
    """
    cfg.load_from, cfg.log_level = None, 'ERROR'
    cfg.model.backbone.pop('init_cfg', None)
    cfg.model.pop('pretrained', None)
    {'mmpretrain': _shrink_classifier, 'mmdet': _shrink_detector,
     'mmseg': _shrink_segmentor}[cfg.default_scope](cfg)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
        # Two iterations an epoch; in blocks of epochs one iteration, so that either block has one.
        loader.dataset.indices = 2 if split != 'train' else COUNT
    alternate = recipe == 'alternate'
    for hook in cfg.get('custom_hooks', []):
        if hook.get('recipe') == 'alternate':
            hook.period = 1
    if 'max_iters' in cfg.train_cfg:
        cfg.train_cfg.update(max_iters=2, val_interval=2)
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=2,
                                              **KEEP)
    else:
        cfg.train_dataloader.batch_size = COUNT if alternate else COUNT // 2
        epochs = 2 if alternate else 1
        cfg.train_cfg.update(max_epochs=epochs, val_interval=1)
        if isinstance(cfg.param_scheduler, list):  # what comes after the warm-up never begins
            cfg.param_scheduler = [s for s in cfg.param_scheduler if s.get('begin', 0) < epochs]
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1, **KEEP)
    adapt_to_cpu_(cfg)


def _shrink_classifier(cfg: Config) -> None:
    full = cfg.model.backbone.type, str(cfg.model.backbone.get('arch'))
    if full in LIGHTER:
        _assert_converts(cfg)
        cfg.model.backbone.arch, cfg.model.head.in_channels = LIGHTER[full]
        cfg.model.head.pop('hidden_dim', None)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].setdefault('collate_fn', dict(type='default_collate'))


def _assert_converts(cfg: Config) -> None:
    """The config's own model is built and its layers are found."""
    backbone = build_model(cfg).backbone
    blocks = sum(type(m).__name__ in BLOCKS for m in backbone.modules())
    assert blocks and list(select(backbone, 'auto').values()).count(None) == 2 * blocks


def _shrink_detector(cfg: Config) -> None:
    if cfg.optim_wrapper.type == 'AmpOptimWrapper':  # refuses CPUs; mixed precision has its own test
        cfg.optim_wrapper = {k: v for k, v in cfg.optim_wrapper.items() if k != 'loss_scale'}
        cfg.optim_wrapper.type = 'OptimWrapper'
    if 'num_queries' in cfg.model:
        cfg.model.num_queries = 20  # no more than these small images have positions
        for part in ('encoder', 'decoder'):
            cfg.model[part].layer_cfg.ffn_cfg.feedforward_channels = 256
    test_cfg = cfg.model.test_cfg
    if 'rpn' in test_cfg:
        test_cfg.rpn.max_per_img = 20
        test_cfg = test_cfg.rcnn
    test_cfg.update(score_thr=0.0, max_per_img=10)  # a detector that knows nothing must speak up
    _shrink_pipelines_(list(cfg.values()), dict(scale=(SIZE, SIZE), scales=[(SIZE, SIZE), (SIZE, 48)],
                                 crop_size=(40, 48)))


def _shrink_segmentor(cfg: Config) -> None:
    cfg.model.data_preprocessor.size = (SIZE, SIZE)
    _shrink_pipelines_(list(cfg.values()), dict(scale=(2 * SIZE, SIZE), crop_size=(SIZE, SIZE)))


def _shrink_pipelines_(node: Any, sizes: dict[str, Any]) -> None:
    """Set sizes wherever a data transform has them."""
    if isinstance(node, dict):
        kind = str(node.get('type', ''))
        if kind.startswith(('Resize', 'RandomResize', 'RandomChoiceResize', 'RandomCrop')):
            node.update({key: value for key, value in sizes.items() if key in node})
        children = node.values()
    else:
        children = node if isinstance(node, (list, tuple)) else ()
    for child in children:
        _shrink_pipelines_(child, sizes)
