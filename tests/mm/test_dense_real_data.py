"""Real photographs: COCO and CamVid. Trained with the one line, saved, tested in the stock host."""
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from denoiserep_ext.mm.launch import read_config
from denoiserep_ext.mm.stacks import mim_name
from tests.mm.dense import metrics
from tests.mm.helpers import train
from tests.mm.test_isolation import BLOCK

pytest.importorskip('mmdet', reason='needs mmdet (bash tools/install.sh)')
pytest.importorskip('mmseg', reason='needs mmseg (bash tools/install.sh)')

CONFIGS = Path(__file__).parents[2] / 'configs'
CAMVID = ('Sky', 'Building', 'Pole', 'Road', 'Pavement', 'Tree', 'SignSymbol', 'Fence', 'Car',
          'Pedestrian', 'Bicyclist')


def faster_rcnn(data):
    """Faster R-CNN R18 on small images: 24 iterations, evaluated on 12 images, boxes and proposals
    (the precision of a net this new is near nothing, the recall of its proposals is not)."""
    cfg = read_config(CONFIGS / 'mmdet/coco/faster-rcnn_r50_fpn_denoiserep-joint_1x_coco.py')
    cfg.model.backbone.init_cfg = None
    cfg.model.backbone.update(depth=18, frozen_stages=-1, norm_eval=False)
    cfg.model.neck.in_channels = [64, 128, 256, 512]
    cfg.model.test_cfg.rcnn.score_thr = 0.001
    cfg.model.test_cfg.rpn.max_per_img = 200
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.data_root = f'{data}/tiny_coco/'
        next(t for t in dataset.pipeline if t.type == 'Resize').scale = (240, 144)
        dataset.indices = 12 if split != 'train' else 48
        evaluator = cfg.get(f'{split}_evaluator')
        if evaluator:
            evaluator.update(ann_file=f'{data}/tiny_coco/annotations/instances_val2017.json',
                             metric=['bbox', 'proposal'])
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
    cfg.param_scheduler, cfg.optim_wrapper = [], dict(optimizer=dict(type='AdamW', lr=2e-4))
    cfg.default_hooks.checkpoint.interval = 1
    return cfg, 'epoch_1.pth', 'coco/AR@1000'


def segformer(data):
    """SegFormer-B0 at half the image size: 40 iterations, evaluated on 30 images."""
    cfg = read_config(
        CONFIGS / 'mmseg/ade20k/segformer_mit-b0_denoiserep-joint_8xb2-160k_ade20k-512x512.py')
    cfg.model.backbone.init_cfg = None
    cfg.model.decode_head.update(num_classes=11, norm_cfg=dict(type='BN'))
    cfg.model.data_preprocessor.size = (176, 240)
    load, labels = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    resize, pack = dict(type='Resize', scale=(240, 180), keep_ratio=True), dict(type='PackSegInputs')
    for split in ('train', 'val', 'test'):
        folder = 'train' if split == 'train' else 'val'
        cfg[f'{split}_dataloader'].dataset = dict(
            type='BaseSegDataset', data_root=f'{data}/camvid', ignore_index=11,
            metainfo=dict(classes=CAMVID, palette=[[i] * 3 for i in range(11)]),
            data_prefix=dict(img_path=f'img/{folder}', seg_map_path=f'ann/{folder}'),
            img_suffix='.png', seg_map_suffix='.png',
            pipeline=[load, labels, resize, dict(type='RandomFlip', prob=0.5), pack]
            if split == 'train' else [load, resize, labels, pack])  # tested at full size
        for evaluator in cfg.get(f'{split}_evaluator') or []:
            evaluator.ignore_index = 11
    cfg.model.decode_head.ignore_index = 11
    cfg.model.data_preprocessor.update(seg_pad_val=11)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=40, val_interval=40)
    cfg.param_scheduler = []
    cfg.optim_wrapper.optimizer.lr = 1e-3
    cfg.default_hooks.checkpoint.interval = 40
    return cfg, 'iter_40.pth', 'mIoU'


def dump(path):
    return dict(type='DumpDetResults', out_file_path=str(path))


@pytest.mark.slow
@pytest.mark.matrix
@pytest.mark.parametrize('model', [faster_rcnn, segformer], ids=lambda f: f.__name__)
def test_plain_checkpoint_scores_in_the_stock_host_what_the_live_model_scored(
        real_data, tmp_path, model):
    cfg, name, shown = model(real_data)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
        cfg[f'{split}_dataloader'].batch_size = 2 if split == 'train' else 1
    cfg.update(load_from=None, work_dir=str(tmp_path / 'run'), log_level='WARNING',
               randomness=dict(seed=0))
    cfg.custom_hooks[0].update(update='posterior', step_stride=2, noise='relative')
    if model is faster_rcnn:  # every box, score and label, too
        cfg.val_evaluator = [cfg.val_evaluator, dump(tmp_path / 'live.pkl')]
    live = metrics(train(cfg))
    assert live[shown] > 0
    stock = cfg.copy()
    stock.custom_hooks = []
    if model is faster_rcnn:
        stock.test_evaluator = [stock.test_evaluator, dump(tmp_path / 'tested.pkl')]
    else:
        stock.test_evaluator = stock.test_evaluator[:1]  # IoUMetric; BIoUMetric is this package's
    stock.val_evaluator = stock.test_evaluator
    stock.dump(tmp_path / 'stock.py')
    assert 'denoiserep' not in (tmp_path / 'stock.py').read_text().lower()
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site/sitecustomize.py').write_text(BLOCK)
    result = subprocess.run(
        [Path(sys.executable).with_name('mim'), 'test', mim_name(cfg.default_scope),
         str(tmp_path / 'stock.py'), '--checkpoint', str(tmp_path / 'run' / name),
         '--work-dir', str(tmp_path / 'test')],
        env={**os.environ, 'PYTHONPATH': str(tmp_path / 'site')}, cwd=tmp_path,
        capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    tested = json.loads(next((tmp_path / 'test').glob('*/*.json')).read_text())
    same = {key: value for key, value in live.items() if key != 'mBIoU'}
    assert len(same) >= 3 and {key: tested[key] for key in same} == same
    if model is faster_rcnn:
        first, second = (pickle.loads((tmp_path / f'{n}.pkl').read_bytes()) for n in ('live', 'tested'))
        assert len(first) == len(second) == 12
        for ours, theirs in zip(first, second):
            assert len(ours['pred_instances']['scores']) > 10
            assert all(torch.equal(value, theirs['pred_instances'][key])
                       for key, value in ours['pred_instances'].items())
