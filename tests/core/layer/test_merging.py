"""Blocks that merge their layers for deployment keep what was folded into them."""
import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.testing import assert_close

from denoiserep_ext import DenoiseRepConfig, convert_, explicit_path, fuse_, unconvert_
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import randomise_

timm = pytest.importorskip('timm')


def repvgg():
    return timm.models.byobnet.RepVggBlock(8, 8), (2, 8, 7, 7)


def mobileone():
    return timm.models.byobnet.MobileOneBlock(8, 8, 3, num_conv_branches=2), (2, 8, 7, 7)


def converted_model(block, shape):
    """The converted block, with norms that do something, an input and what it makes of it."""
    model = nn.Sequential(block).double().eval()
    for norm in (m for m in model.modules() if isinstance(m, _BatchNorm)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 2)
    x = torch.randn(shape, dtype=torch.float64)
    stock = model(x)
    convert_(model, DenoiseRepConfig(update='posterior', step_stride=100))
    randomise_(model, 0.3)
    with explicit_path(model):
        explicit = model(x)
    assert (explicit - stock).abs().max() > 1e-2
    return model, x, explicit


def check_merging_keeps_the_fold(block, shape, merge):
    """``merge(model)`` on a converted model gives a plain one that computes the same."""
    model, x, explicit = converted_model(block, shape)
    fused_first = merge(fuse_(copy.deepcopy(model)))
    merged = merge(model)
    assert not list(denoise_layers(merged))
    for plain in (fused_first, merged):
        assert_close(plain(x), explicit, rtol=1e-10, atol=1e-10)
    assert merged.state_dict().keys() == fused_first.state_dict().keys()


@pytest.mark.parametrize('build', [repvgg, mobileone])
def test_reparametrising_a_converted_model_keeps_the_fold(build):
    check_merging_keeps_the_fold(*build(), timm.utils.reparameterize_model)


@pytest.mark.parametrize('back', [fuse_, unconvert_])
def test_nothing_is_left_behind(back):
    block, shape = repvgg()
    before = set(vars(block))
    model, _, _ = converted_model(block, shape)
    assert 'reparameterize' in vars(model[0])
    back(model)
    assert set(vars(block)) == before


def test_copies_merge_themselves():
    model, x, explicit = converted_model(*repvgg())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin[0].reparameterize()
        assert not list(denoise_layers(twin)) and list(denoise_layers(model))
        assert_close(twin(x), explicit, rtol=1e-10, atol=1e-10)
