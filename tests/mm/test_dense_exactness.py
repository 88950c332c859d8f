"""Whole detectors and segmentors, heads included: fused against explicit."""
import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.hub import get_config

from denoiserep_ext import (
    DenoiseRepConfig,
    convert_,
    explicit_path,
    fit_one_pass_,
    fuse_,
    fused_state_dict,
)
from denoiserep_ext.core.layer.layers import denoise_aliases
from denoiserep_ext.mm.models import build_model
from tests.mm.test_backbones import assert_same

pytest.importorskip('mmdet', reason='needs mmdet (bash tools/install.sh)')
pytest.importorskip('mmseg', reason='needs mmseg (bash tools/install.sh)')

SIZE = 96
MODELS = {
    # Convs shared by five levels of a pyramid: called five times a forward.
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py': dict(backbone='auto', neck='all',
                                                          bbox_head='all'),
    # Convs that stand in the state dict once per level.
    'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py': dict(backbone='auto', neck='all',
                                                         bbox_head='all'),
    # MLPs, and the linears of deformable attention; nn.MultiheadAttention stays as it is.
    'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py': dict(backbone='auto', neck='all', encoder='all',
                                                         decoder='all'),
    'mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py': dict(backbone='auto', decode_head='all',
                                                             auxiliary_head='all'),
    'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py': dict(backbone='all',
                                                                          decode_head='all'),
    'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py': dict(
        backbone='auto', decode_head='all'),
}


def build(name):
    cfg = get_config(name)
    cfg.model.backbone.pop('init_cfg', None)
    cfg.model.pop('pretrained', None)
    if cfg.model.backbone.type == 'ResNet':  # the heads are what is tested here
        cfg.model.backbone.depth = 18
        cfg.model.neck.in_channels = [width // 4 for width in cfg.model.neck.in_channels]
    if 'num_queries' in cfg.model:
        cfg.model.num_queries = 20
        for part in ('encoder', 'decoder'):
            cfg.model[part].layer_cfg.ffn_cfg.feedforward_channels = 512
    cfg.model.pop('auxiliary_head', None) if 'swin' in name else None
    model = build_model(cfg).eval()
    model.init_weights()
    return model


def run(model, images):
    """Raw outputs of the heads, flat."""
    from mmdet.structures import DetDataSample
    samples = [DetDataSample(metainfo=ConfigDict(
        img_shape=(SIZE, SIZE), batch_input_shape=(SIZE, SIZE), pad_shape=(SIZE, SIZE)))
        for _ in images]
    outputs = [model(images, samples, mode='tensor')]
    if hasattr(model, 'auxiliary_head'):
        outputs.append(model.auxiliary_head(model.extract_feat(images)))
    return list(tensors(outputs))


def tensors(output):
    if isinstance(output, torch.Tensor):
        yield output
    elif output is not None:
        for item in output.values() if isinstance(output, dict) else output:
            yield from tensors(item)


@pytest.mark.slow
@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[pytest.mark.matrix] if 'swin' in name or 'fcn' in name else [])
    for name in MODELS])
def test_fused_model_equals_explicit_one(name, record_error):
    model = build(name)
    stock, images = copy.deepcopy(model), torch.randn(2, 3, SIZE, SIZE)
    report = convert_(model, DenoiseRepConfig(layers=MODELS[name], update='posterior',
                                              step_stride=2, noise='relative'))
    assert {layer.name.partition('.')[0] for layer in report.converted} == set(MODELS[name])
    left = {layer.name: layer.reason for layer in report.skipped}
    with torch.no_grad():
        plain = run(stock, images)
        assert_same(run(model, images), plain, 0.0)
        fit_one_pass_(model, [images], tokens=512, forward=run)
        with explicit_path(model):
            explicit = run(model, images)
        state = fused_state_dict(model)
        fused = run(fuse_(model), images)
        error = assert_same(fused, explicit, 1e-4)
        record_error(f'{name.rpartition("/")[2]}, heads too: fused against explicit, relative', error)
        assert max((f - p).abs().max() / p.abs().max() for f, p in zip(fused, plain)) > 1e-3
        stock.load_state_dict(state, strict=True)
        assert_same(run(stock, images), fused, 0.0)
    if 'dino' in name or 'segformer' in name:
        inside = [n for n, reason in left.items() if 'nn.MultiheadAttention' in reason]
        assert len(inside) == (6 if 'dino' in name else 8) and all('attn' in n for n in inside)


def test_shared_convs_are_fused_under_every_name():
    model = build('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py')
    convert_(model, DenoiseRepConfig(layers=dict(bbox_head='all')))
    aliases = denoise_aliases(model)
    assert aliases['bbox_head.cls_convs.0.0.conv'] == [
        f'bbox_head.cls_convs.{level}.0.conv' for level in range(3)]
    fit_one_pass_(model, [torch.randn(1, 3, SIZE, SIZE)], forward=run)
    state = fused_state_dict(model)
    first, *others = (state[f'bbox_head.cls_convs.{level}.0.conv.weight'] for level in range(3))
    assert all(torch.equal(first, other) for other in others)
    assert not torch.equal(first, model.bbox_head.cls_convs[0][0].conv.weight)
    assert not [key for key in state if 'denoiser' in key]
