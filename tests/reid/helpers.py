"""Small re-identification runs of FastReID's real trainer."""
from __future__ import annotations

from pathlib import Path

import torch
from fastreid.engine.train_loop import TrainerBase

from denoiserep_ext.reid import Trainer, get_cfg
from denoiserep_ext.reid.config import adapt_to_device_

EPOCH = 6  # iterations, see the batch size below


def reid_config(output, data, *overrides):
    """A small OSNet on the digits: 6 iterations an epoch, 2 epochs.

    Args:
        output: OUTPUT_DIR.
        data: Folder in Market-1501's layout.
        *overrides: ``KEY, value, ...``.
    """
    cfg = get_cfg()
    cfg.merge_from_list([
        'MODEL.META_ARCHITECTURE', 'DenoiseRep', 'MODEL.BACKBONE.NAME', 'build_osnet_backbone',
        'MODEL.BACKBONE.DEPTH', 'x0_25', 'MODEL.BACKBONE.FEAT_DIM', 128,
        'MODEL.HEADS.WITH_BNNECK', True, 'MODEL.LOSSES.NAME', ('CrossEntropyLoss', 'TripletLoss'),
        'INPUT.SIZE_TRAIN', [32, 32], 'INPUT.SIZE_TEST', [32, 32],
        'DATALOADER.SAMPLER_TRAIN', 'NaiveIdentitySampler', 'DATALOADER.NUM_INSTANCE', 36,
        'DATALOADER.NUM_WORKERS', 0, 'DATASETS.ROOT', str(data),
        'SOLVER.IMS_PER_BATCH', 180, 'SOLVER.MAX_EPOCH', 2, 'SOLVER.WARMUP_ITERS', 2,
        'SOLVER.CHECKPOINT_PERIOD', 1, 'SOLVER.BASE_LR', 1e-3,
        'MODEL.DENOISEREP.NOISE', 'relative', 'MODEL.DENOISEREP.STEP_STRIDE', 2,
        'MODEL.DENOISEREP.UPDATE', 'posterior', 'MODEL.DENOISEREP.LOSS_TOKENS', 64,
        'MODEL.DENOISEREP.PERIOD', 1,
        'TEST.EVAL_PERIOD', 100, 'TEST.IMS_PER_BATCH', 180, 'SEED', 0, 'OUTPUT_DIR', str(output),
        *overrides])
    adapt_to_device_(cfg)
    return cfg


def train(cfg, resume=False, epochs=None):
    """Train a config; return the trainer.

    Args:
        epochs: Stop after so many, as if interrupted; the schedule stays that of the whole run.
    """
    Path(cfg.OUTPUT_DIR).mkdir(parents=True, exist_ok=True)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume)
    if epochs is None:
        trainer.train()
    else:
        TrainerBase.train(trainer, trainer.start_epoch, epochs, trainer.iters_per_epoch)
    return trainer


def load(path):
    return torch.load(path, map_location='cpu', weights_only=True)


def stock_model(cfg, checkpoint):
    """FastReID's own model with a checkpoint's weights, strictly."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = 'Baseline'
    state = load(checkpoint)['model']
    cfg.MODEL.HEADS.NUM_CLASSES = len(state['heads.weight'])
    model = Trainer.build_model(cfg)
    model.load_state_dict(state, strict=True)
    return model.eval()


def assert_same_state(ours, theirs, keys=None):
    """Every tensor bit for bit."""
    assert ours.keys() == theirs.keys()
    for key in keys or ours:
        assert torch.equal(ours[key], theirs[key]), key
