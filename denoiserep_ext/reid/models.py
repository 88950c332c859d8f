"""FastReID models with a checkpoint's weights, for everything but training."""
from __future__ import annotations

from fastreid.config import CfgNode
from fastreid.modeling.meta_arch import build_model
from torch import nn

from .checkpoint import PlainCheckpointer, num_classes, read_reid_checkpoint


def load_model(cfg: CfgNode, weights: str) -> nn.Module:
    """Build a config's model with a checkpoint's weights, in evaluation mode.

    Its classifier has the checkpoint's identities; ``MODEL.BACKBONE.PRETRAIN`` is not looked at.

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
