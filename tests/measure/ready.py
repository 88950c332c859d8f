"""Writes a config, and a checkpoint where there is one, of real data for the tools to be run on.

camvid: SegFormer-B0 on CamVid at half size, to be trained. tiny-coco: Faster R-CNN R18 on 50 images of
COCO at about a third of their size, to be trained and tested on the same 50: so few images teach
nothing about others, but what was learnt by heart survives noise or does not. osnet: OSNet x0.25 trained
on MSMT17, tested on the faces in Market-1501's layout. Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.ready osnet OUT
"""
from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from tests.measure.printing import start


def camvid(data: Path, out: Path) -> None:
    """``camvid.py``: 300 iterations of 4 images."""
    from tests.mm.test_dense_real_data import segformer
    cfg, _, _ = segformer(data.resolve())
    _train(cfg, iterations=300, batch=4, rate=1e-3)
    cfg.val_evaluator = cfg.test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
    cfg.dump(out / 'camvid.py')


def tiny_coco(data: Path, out: Path) -> None:
    """``tiny-coco.py``: 900 iterations of 2 images, tested on the images of training."""
    from tests.mm.test_dense_real_data import faster_rcnn
    cfg, _, _ = faster_rcnn(data.resolve())
    _train(cfg, iterations=900, batch=2, rate=3e-4)
    cfg.model.test_cfg.rcnn.score_thr = 0.05
    for split in ('val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.update(ann_file='annotations/instances_train2017.json',
                       data_prefix=dict(img='train2017/'), indices=None)
        cfg[f'{split}_evaluator'].update(
            ann_file=f'{dataset.data_root}annotations/instances_train2017.json', metric='bbox')
    cfg.train_dataloader.dataset.indices = None
    cfg.dump(out / 'tiny-coco.py')


def _train(cfg, iterations: int, batch: int, rate: float) -> None:
    """A schedule of iterations, AdamW falling to zero along a cosine, no DenoiseRep."""
    cfg.pop('custom_hooks', None)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations)
    cfg.train_dataloader.update(batch_size=batch, num_workers=0, persistent_workers=False,
                                sampler=dict(type='InfiniteSampler', shuffle=True))
    cfg.train_dataloader.pop('batch_sampler', None)
    for split in ('val', 'test'):
        cfg[f'{split}_dataloader'].update(batch_size=1, num_workers=0, persistent_workers=False)
    cfg.optim_wrapper = dict(type='OptimWrapper', clip_grad=dict(max_norm=10),
                             optimizer=dict(type='AdamW', lr=rate, weight_decay=0.01))
    cfg.param_scheduler = [dict(type='CosineAnnealingLR', T_max=iterations, by_epoch=False)]
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=iterations)
    cfg.default_hooks.logger.interval = 50


def osnet(data: Path, out: Path) -> None:
    """``osnet.yml`` and ``osnet.pth``."""
    import torch

    from tests.measure.osnet import load_osnet, osnet_config
    cfg = osnet_config(data.resolve())
    cfg.OUTPUT_DIR = str(out / 'work_dir')
    (out / 'osnet.yml').write_text(cfg.dump())
    torch.save({'model': load_osnet(data).state_dict()}, out / 'osnet.pth')


KINDS = {'camvid': camvid, 'tiny-coco': tiny_coco, 'osnet': osnet}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the files."""
    options = ArgumentParser(description=__doc__.split('\n')[0])
    options.add_argument('kind', choices=KINDS)
    options.add_argument('out', type=Path, help='folder')
    args = options.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    KINDS[args.kind](start(), args.out)
    print(f'{args.kind}: written to {args.out}')


if __name__ == '__main__':
    main()
