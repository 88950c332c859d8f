"""FastReID models for everything but training."""
from __future__ import annotations

from fastreid.config import CfgNode
from fastreid.modeling.meta_arch import build_model
from torch import nn

from .checkpoint import PlainCheckpointer, num_classes, read_reid_checkpoint
from .config import read_config, settings_of


def load_model(cfg: CfgNode, weights: str) -> nn.Module:
    """Build a config's model with a checkpoint's weights, in evaluation mode.

    Its classifier has the checkpoint's identities; ``MODEL.BACKBONE.PRETRAIN`` is ignored.

    Args:
        cfg: FastReID config with our keys; not changed.
        weights: Checkpoint of its model.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another model.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.BACKBONE.PRETRAIN = False
    cfg.MODEL.HEADS.NUM_CLASSES = num_classes(read_reid_checkpoint(weights)['model'])
    model = build_model(cfg)
    PlainCheckpointer(model).load(weights)
    return model.eval()


def build_for_inspection(path: str) -> tuple[nn.Module, str]:
    """The stock model of a config file with fresh weights, and the part that DenoiseRep converts.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for an unknown key or a value that cannot be.
    """
    cfg = read_config(path, ['MODEL.WEIGHTS', '', 'MODEL.BACKBONE.PRETRAIN', 'False',
                             'MODEL.DEVICE', 'cpu', 'MODEL.HEADS.NUM_CLASSES', '1'])
    if cfg.MODEL.META_ARCHITECTURE == 'DenoiseRep':
        cfg.MODEL.META_ARCHITECTURE = cfg.MODEL.DENOISEREP.META_ARCH
    else:
        cfg.MODEL.DENOISEREP.META_ARCH = cfg.MODEL.META_ARCHITECTURE
    return build_model(cfg), settings_of(cfg).target
