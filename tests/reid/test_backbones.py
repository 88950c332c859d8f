"""Backbones for FastReID: what they hand on, and the files they take."""
from pathlib import Path

import pytest
import torch
from fastreid.config import get_cfg as stock_cfg
from yacs.config import CfgNode

from denoiserep_ext import VMamba
from denoiserep_ext.models.vmamba_variants import ARCHITECTURES
from denoiserep_ext.reid import get_cfg
from denoiserep_ext.reid.backbones import build_swin_backbone, build_vmamba_backbone, transreid_vit


@pytest.fixture
def nano(monkeypatch):
    """A variant of VMamba for tests."""
    monkeypatch.setitem(ARCHITECTURES, 'nano', dict(dims=8, depths=(1, 1)))
    return 'nano'


def config(depth, *overrides, base=get_cfg):
    cfg = base()
    cfg.merge_from_list(['MODEL.BACKBONE.DEPTH', depth, 'MODEL.BACKBONE.PRETRAIN', False, *overrides])
    return cfg


@pytest.fixture
def trained(nano, tmp_path):
    """Path of a file as VMamba's training script saves it, with its options in it."""
    def save(options):
        model = VMamba(nano, out_indices=(-1, ))
        torch.save({'model': model.state_dict(), 'config': options}, tmp_path / 'trained.pth')
        return model, str(tmp_path / 'trained.pth')
    return save


@pytest.mark.parametrize('build, depth', [
    (build_vmamba_backbone, 'nano'), (build_swin_backbone, 'tiny')])
def test_maps_are_in_order_for_operators_that_read_memory(build, depth, nano):
    ops = pytest.importorskip('mmcv.ops', reason='needs the operators of mmcv (bash tools/install.sh)')
    with torch.no_grad():
        features = build(config(depth)).eval()(torch.randn(2, 3, 64, 96))
    assert features.is_contiguous() and min(features.shape[1:]) > 1
    rois = torch.tensor([[0.0, 5, 3, 90, 60], [1, 0, 0, 40, 40]])
    scale = features.shape[2] / 64
    ours = ops.roi_align(features, rois, (2, 2), scale, 2)
    channels_last = features.contiguous(memory_format=torch.channels_last)
    assert torch.equal(ours, ops.roi_align(channels_last.contiguous(), rois, (2, 2), scale, 2))
    assert not torch.allclose(ours, ops.roi_align(channels_last, rois, (2, 2), scale, 2), atol=0.1)


@pytest.mark.parametrize('depth', ['small', 'small_ics'])
def test_the_class_token_is_no_view_into_all_tokens(depth):
    with torch.no_grad():
        features = transreid_vit(depth, (64, 32)).eval()(torch.randn(2, 3, 64, 32))
    assert features.shape == (2, 384, 1, 1) and features.is_contiguous()


def test_options_of_yacs_in_a_file_are_left_out(trained):
    options = CfgNode({'MODEL': {'NAME': 'vssm', 'DEPTHS': [2, 2]}, 'BASE': ['']})
    options.freeze()
    model, path = trained(options)
    backbone = build_vmamba_backbone(config('nano', 'MODEL.BACKBONE.PRETRAIN', True,
                                            'MODEL.BACKBONE.PRETRAIN_PATH', path))
    assert all(torch.equal(a, b) for a, b in zip(backbone.parameters(), model.parameters()))


def test_a_file_that_can_run_code_needs_a_word(trained):
    model, path = trained(Path('/options'))
    pretrained = 'MODEL.BACKBONE.PRETRAIN', True, 'MODEL.BACKBONE.PRETRAIN_PATH', path
    for base in (get_cfg, stock_cfg):
        with pytest.raises(ValueError, match='cannot be read safely.*BACKBONE.PRETRAIN_UNSAFE True'):
            build_vmamba_backbone(config('nano', *pretrained, base=base))
    backbone = build_vmamba_backbone(config('nano', *pretrained, 'MODEL.BACKBONE.PRETRAIN_UNSAFE', True))
    assert all(torch.equal(a, b) for a, b in zip(backbone.parameters(), model.parameters()))
