"""Whole backbones of MMPretrain: fused against explicit, features of real shape."""
import copy

import pytest
import torch
from mmengine.hub import get_config

from denoiserep_ext import (
    DenoiseRepConfig,
    convert_,
    explicit_path,
    fit_one_pass_,
    fuse_,
    fused_state_dict,
)
from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.mm.models import build_model

MODELS = {
    'mmpretrain::resnet/resnet50_8xb32_in1k': (224, 52),
    'mmpretrain::vision_transformer/vit-base-p16_32xb128-mae_in1k': (224, 24),
    'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k': (224, 24),
    'mmpretrain::swin_transformer_v2/swinv2-tiny-w8_16xb64_in1k-256px': (256, 24),
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco': (128, 52),
    'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco': (128, 24),
    'mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512': (128, 52),
    'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512': (128, 16),
    'mmseg::segformer/segformer_mit-b1_8xb2-160k_ade20k-512x512': (128, 16),
    'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512': (128, 24),
}


STRONG = dict(update='posterior', step_stride=10, noise='relative')
# The paper's steps change little and are the easier case: left to --all, as are more architectures.
DEFAULT = ('mmpretrain::swin_transformer/swin-tiny_16xb64_in1k',
           'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512')
CASES = [pytest.param(name, options, id=f'{kind}-{name}',
                      marks=[] if kind == 'strong' and name in DEFAULT else [pytest.mark.matrix])
         for name in MODELS for kind, options in (('paper', {}), ('strong', STRONG))]


@pytest.mark.slow
@pytest.mark.parametrize('name, options', CASES)
def test_fused_backbone_equals_explicit_one(name, options, record_error):
    size, count = MODELS[name]
    cfg = get_config(f'{name}.py')
    cfg.model.pop('pretrained', None)
    cfg.model.backbone.pop('init_cfg', None)
    backbone = build_model(cfg).backbone
    backbone.init_weights()
    backbone.eval()
    stock = copy.deepcopy(backbone)
    images = torch.randn(2, 3, size, size)
    report = convert_(backbone, DenoiseRepConfig(**options), example_inputs=images)
    assert len(report.converted) == count
    steps = [layer.step for layer in report.converted]
    assert steps == sorted(steps, reverse=True), 'order of definition is the order of calls'
    with torch.no_grad():
        plain = stock(images)
        assert_same(backbone(images), plain, 0.0)
        fit_one_pass_(backbone, [images])
        with explicit_path(backbone):
            explicit = backbone(images)
        state = fused_state_dict(backbone)
        fuse_(backbone)
        fused = backbone(images)
    error = assert_same(fused, explicit, 1e-4)
    kind = 'strong' if options else 'paper'
    record_error(f'{name.rpartition("/")[2]}, {kind}: fused against explicit, relative', error)
    if options:
        assert max((f - p).abs().max() / p.abs().max() for f, p in zip(fused, plain)) > 1e-3
    assert not list(denoise_layers(backbone))
    assert {n: type(m) for n, m in backbone.named_modules()} == {
        n: type(m) for n, m in stock.named_modules()}
    assert {k: v.shape for k, v in state.items()} == {
        k: v.shape for k, v in stock.state_dict().items()}
    # SwinV2 itself drops its coordinate tables on loading, so it cannot load its own state strictly.
    stock.load_state_dict(state, strict='swin_transformer_v2' not in name)
    with torch.no_grad():
        assert_same(stock(images), fused, 0.0)


def assert_same(ours, theirs, tolerance):
    """Largest difference relative to the largest feature, checked."""
    error = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, theirs))
    assert error <= tolerance
    return error
