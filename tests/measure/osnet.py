"""OSNet trained on MSMT17 and faces in Market-1501's layout, from the folder of real test data."""
from __future__ import annotations

from pathlib import Path

import torch

from denoiserep_ext.reid import Trainer, get_cfg


def osnet_config(data: Path):
    """OSNet x0.25 with pooled features as embeddings, on the faces in Market-1501's layout."""
    cfg = get_cfg()
    cfg.merge_from_list([
        'MODEL.DEVICE', 'cpu', 'MODEL.BACKBONE.NAME', 'build_osnet_backbone',
        'MODEL.BACKBONE.DEPTH', 'x0_25', 'MODEL.BACKBONE.FEAT_DIM', 128,
        'MODEL.HEADS.NUM_CLASSES', 1, 'DATALOADER.NUM_WORKERS', 0,
        'DATASETS.ROOT', str(data / 'orl_market'), 'TEST.IMS_PER_BATCH', 50])
    return cfg


def load_osnet(data: Path) -> torch.nn.Module:
    """FastReID's Baseline around the trained backbone, in evaluation mode."""
    model = Trainer.build_model(osnet_config(data))
    state = torch.load(data / 'osnet_x0_25_msmt17_fastreid.pth', weights_only=True)
    model.backbone.load_state_dict(state, strict=True)
    return model.eval()


def training_images(data: Path) -> torch.Tensor:
    """Images of the training identities as FastReID reads them for testing."""
    from fastreid.data.common import CommDataset
    from fastreid.data.transforms import build_transforms
    paths = sorted((data / 'orl_market/bounding_box_train').glob('*.jpg'))
    dataset = CommDataset([(str(path), 0, 0) for path in paths],
                          build_transforms(osnet_config(data), is_train=False), relabel=False)
    return torch.stack([dataset[index]['images'] for index in range(len(dataset))])


def score(data: Path, model: torch.nn.Module) -> dict:
    """FastReID's metrics."""
    return Trainer.test(osnet_config(data), model)
