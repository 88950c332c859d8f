"""OSNet trained on MSMT17, denoised without labels at several strengths: retrieval of unseen faces.

Moments come from one pass over the training identities' images, from which every strength is solved;
tests are on other identities, by FastReID's evaluator. Nothing is tuned or selected. Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.osnet_strengths
"""
from __future__ import annotations

import copy
import logging
import os
from pathlib import Path

import torch
from tqdm import tqdm

from denoiserep_ext import DenoiseRepConfig, convert_
from denoiserep_ext.core.one_pass import observing
from denoiserep_ext.reid import Trainer, get_cfg
from tests.measure.strengths import denoised

STRIDES = {'reverse': (0, 1, 2, 4, 7), 'posterior': (0, 1, 2, 4, 7)}


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


@torch.no_grad()
def main() -> None:
    logging.disable(logging.WARNING)
    data = Path(os.environ['DENOISEREP_TEST_DATA'])
    model, images = load_osnet(data), training_images(data)
    plain = score(data, model)
    print(f'plain: mAP {plain["mAP"]:.2f}, Rank-1 {plain["Rank-1"]:.2f}; moments from {len(images)} '
          f'images of other identities')
    observed = copy.deepcopy(model)
    convert_(observed.backbone)
    with observing(observed) as moments:
        for batch in tqdm(images.split(50), desc='moments'):
            observed({'images': batch.clone()})
    print(f'{"update":<10} {"noise":<9} {"stride":>6} {"steps":>8} {"|W1-W|/|W|":>11} {"mAP":>6} '
          f'{"Rank-1":>7}')
    for update, strides in STRIDES.items():
        for noise in ('unit', 'relative'):
            for stride in strides:
                config = DenoiseRepConfig(update=update, noise=noise, step_stride=stride)
                twin, steps, size = denoised(model, moments, config, 'backbone')
                result = score(data, twin)
                print(f'{update:<10} {noise:<9} {stride:>6} {steps[-1]:>3}-{steps[0]:<4} '
                      f'{size:>11.5f} {result["mAP"]:>6.2f} '
                      f'{result["Rank-1"]:>7.2f}', flush=True)


if __name__ == '__main__':
    main()
