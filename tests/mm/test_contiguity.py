"""Behind mmcv's operators, which read memory as [B, C, H, W] whatever the strides say."""
from contextlib import nullcontext

import pytest
import torch
from mmengine.structures import InstanceData

from denoiserep_ext import DenoiseRepConfig, convert_, explicit_path, fit_one_pass_
from denoiserep_ext.mm.launch import read_config
from denoiserep_ext.mm.models import build_model
from tests.mm.dense import CONFIGS

pytest.importorskip('mmdet', reason='needs mmdet (bash tools/install.sh)')
pytest.importorskip('mmcv._ext', reason='needs the operators of mmcv (bash tools/install.sh)')

VMAMBA = dict(type='denoiserep_ext.VMamba', arch=dict(dims=8, depths=(1, 1, 1, 1)),
              out_indices=(0, 1, 2, 3))
RESNET = dict(type='ResNet', depth=18, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3))
BOXES = torch.tensor([[3.0, 5, 40, 60], [10, 0, 64, 30], [0, 0, 12, 90], [20, 20, 90, 90]])


def detector(backbone):
    """A small Mask R-CNN with a stock neck and heads."""
    cfg = read_config(CONFIGS / 'mmdet/scenes/mask-rcnn_r18-w16_fpn_1xb8_scenes.py')
    cfg.model.backbone = backbone
    cfg.model.neck.in_channels = [8, 16, 32, 64]
    return build_model(cfg).eval()


def behind_roi_align(model, features):
    """Scores, boxes and masks that the second stage makes of the backbone's features."""
    proposals = [InstanceData(bboxes=BOXES), InstanceData(bboxes=BOXES.flip(0))]
    return model.roi_head(model.neck(features), proposals, None)


BACKBONES = {'VMamba': VMAMBA, 'ResNet': RESNET}


@pytest.mark.parametrize('path', ['plain', 'fused', 'explicit', 'noisy'])
@pytest.mark.parametrize('kind', BACKBONES)
def test_features_reach_roi_align_in_order(kind, path, record_error):
    """Scrambled ones change the outputs by as much as the outputs are."""
    model, images = detector(BACKBONES[kind]), torch.randn(2, 3, 96, 96)
    if path != 'plain':
        # A full step adds no noise.
        options = dict(step_stride=5, train_noise=True) if path == 'noisy' else dict(strength=0.1)
        convert_(model.backbone, DenoiseRepConfig(noise='relative', **options))
        fit_one_pass_(model.backbone, [torch.randn(4, 3, 64, 64)])
        model.train(path == 'noisy')
    with torch.no_grad(), explicit_path(model) if path == 'explicit' else nullcontext():
        features = model.backbone(images)
        assert all(x.is_contiguous() for x in features)
        ours = behind_roi_align(model, features)
        expected = behind_roi_align(model, [x.contiguous() for x in features])
        scrambled = behind_roi_align(model, [x.contiguous(memory_format=torch.channels_last)
                                             for x in features])
    assert len(ours) == 3
    for a, b, c in zip(ours, expected, scrambled):
        error = ((a - b).abs().max() / b.abs().max()).item()
        record_error(f'behind RoIAlign, {kind}: against contiguous features, relative', error)
        assert error <= 1e-5
        assert (c - b).abs().max() > 0.1 * b.abs().max(), 'RoIAlign minds the layout'
