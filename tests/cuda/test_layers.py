"""Converted and fused layers on a GPU: precision, memory formats, the compiler."""
import copy

import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, convert_, explicit_path, fuse_
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import TinyNet, randomise_

HALF = [torch.float16, torch.bfloat16]


def denoising(device, dtype=torch.float32, channels_last=False, scale=0.1):
    """A converted model with random predictors, and images for it."""
    model = TinyNet(16).eval().to(dtype=dtype)
    images = torch.randn(4, 3, 12, 12, dtype=dtype)
    convert_(model, DenoiseRepConfig(layers='all', steps=(500, ) * 5, update='posterior'))
    randomise_(model, scale)
    model, images = model.to(device), images.to(device)
    if channels_last:
        model, images = (x.to(memory_format=torch.channels_last) for x in (model, images))
    return model, images


def error(ours, theirs):
    return ((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max()).item()


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@torch.no_grad()
def test_fused_equals_explicit(device, dtype, channels_last):
    model, images = denoising(device, dtype, channels_last)
    with explicit_path(model):
        explicit = model(images)
    evaluated = model(images)
    fuse_(model)
    assert not list(denoise_layers(model))
    tight = dict(rtol=1e-10, atol=1e-10) if dtype == torch.float64 else {}
    torch.testing.assert_close(model(images), explicit, **tight)
    torch.testing.assert_close(evaluated, explicit, **tight)
    plain = TinyNet(16).eval().to(device, dtype)
    plain.load_state_dict(model.state_dict(), strict=True)
    torch.testing.assert_close(plain(images.contiguous()), explicit, **tight)


@torch.no_grad()
def test_fusing_keeps_channels_last(device):
    model, images = denoising(device, channels_last=True)
    fuse_(model)
    # With a single channel of 1 x 1 both formats are the same.
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in model.parameters()
               if p.ndim == 4)
    assert model.block(model.stem(images)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('dtype', HALF)
@torch.no_grad()
def test_mixed_precision_costs_what_it_costs_a_plain_model(device, dtype, record_error):
    """Under autocast a fused model is a plain one; what evaluates unfused differs by its rounding."""
    model, images = denoising(device)
    exact = model(images)
    with torch.autocast(device.type, dtype):
        unfused = model(images)
    with torch.autocast(device.type, dtype), explicit_path(model):
        explicit = model(images)
    fuse_(model)
    with torch.autocast(device.type, dtype):
        fused = model(images)
        plain = TinyNet(16).eval().to(device)
        plain.load_state_dict(model.state_dict(), strict=True)
        assert torch.equal(fused, plain(images))
    eps = torch.finfo(dtype).eps
    for name, result in (('fused', fused), ('unfused', unfused), ('explicit', explicit)):
        record_error(f'{name} under autocast of {dtype} against float32, in its roundings',
                     error(result, exact) / eps)
        assert error(result, exact) < 8 * eps  # five layers in a row


@pytest.mark.parametrize('dtype', HALF)
@torch.no_grad()
def test_fusing_weights_in_half_precision_rounds_once(device, dtype):
    """The fold of half-precision weights is that of their exact values, rounded."""
    model, _ = denoising(device)
    half = copy.deepcopy(model).to(dtype)
    exact = copy.deepcopy(half).double()
    fuse_(half)
    fuse_(exact)
    for (name, a), b in zip(half.named_parameters(), exact.parameters()):
        assert torch.equal(a, b.to(dtype)), name


@pytest.mark.parametrize('fused', [False, True])
@torch.no_grad()
def test_compiled_inference(device, fused):
    model, images = denoising(device)
    if fused:
        fuse_(model)
    torch.testing.assert_close(torch.compile(model)(images), model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_compiled_training(device, solver):
    """Gradients of a converted model in training, folded weights included."""
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))
    convert_(model, DenoiseRepConfig(layers='all', solver=solver))
    randomise_(model, 0.1)
    model = model.train().to(device)
    x = torch.randn(20, 6, device=device)
    results = []
    for forward in (model, torch.compile(model)):
        model.zero_grad()
        y = forward(x)
        y.square().mean().backward()
        results.append([y.detach(), *(p.grad.clone() for p in model.parameters()
                                      if p.grad is not None)])
    assert len(results[0]) > 1
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)
