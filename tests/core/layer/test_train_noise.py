"""Fresh noise in training: its size, its independence, and the same again in a recomputation."""
import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from denoiserep_ext import DenoiseRepConfig, convert_, fused_state_dict
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import TinyNet, randomise_

CHECKPOINTS = pytest.mark.parametrize('use_reentrant', [True, False])


def noisy(*layers, steps, **options):
    model = nn.Sequential(*layers)
    convert_(model, DenoiseRepConfig(layers='all', train_noise=True, steps=steps, **options))
    return randomise_(model, 0.1).train()


def test_noise_has_the_variance_of_the_step():
    model = noisy(nn.Linear(64, 64, bias=False), steps=(900, ))
    layer = model[0]
    with torch.no_grad():
        layer.weight.copy_(torch.eye(64))
    x = torch.zeros(2000, 64)
    noise = model(x)
    assert noise.std().item() == pytest.approx(layer.coefficients.c2, rel=0.01)
    assert noise.mean().abs() < 0.01 * noise.std()


def test_layers_and_calls_draw_different_noise():
    model = noisy(nn.Linear(8, 8), nn.Linear(8, 8), steps=(900, 900))
    z = torch.zeros(4, 8)
    draws = [layer.denoiser.train_noise(layer, z) for _, layer in denoise_layers(model)
             for _ in range(2)]
    for index, one in enumerate(draws):
        for other in draws[index + 1:]:
            assert (one - other).abs().min() > 1e-4


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_trains_under_autocast(dtype):
    """The second layer reads features in half precision; its predictor has a bias in float32."""
    model = noisy(nn.Linear(8, 8), nn.Linear(8, 8), steps=(500, 500))
    with torch.autocast('cpu', dtype):
        y = model(torch.randn(4, 8))
    assert y.dtype == dtype
    y.float().square().mean().backward()
    assert all(torch.isfinite(layer.weight.grad).all() for layer in model)


def gradients(model, run, batches):
    """Gradients of the sum over batches, all forwards before the one backward."""
    model.zero_grad()
    sum(run(x).square().mean() for x in batches).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def in_regions(model, use_reentrant):
    def run(x):
        for region in model:
            x = checkpoint(region, x, use_reentrant=use_reentrant)
        return x
    return run


@CHECKPOINTS
def test_a_recomputation_repeats_the_noise(use_reentrant):
    """Every layer in a region of its own, one of them in two; two forwards before one backward, and
    the second step starts from what the first has left."""
    shared = nn.Linear(8, 8).double()
    def build():
        model = noisy(nn.Linear(8, 8).double(), shared, nn.Linear(8, 8).double(), steps=(900, 900, 900))
        return nn.Sequential(*model, model[1])

    plain = build()
    again = copy.deepcopy(plain)
    for step in range(2):
        x = [torch.randn(4, 8, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        expected = gradients(plain, plain, x)
        for name, gradient in gradients(again, in_regions(again, use_reentrant), x).items():
            assert torch.equal(gradient, expected[name]), (step, name)


@CHECKPOINTS
def test_a_recomputation_of_several_calls_in_one_region_repeats_their_noise(use_reentrant):
    plain = noisy(nn.Linear(8, 8).double(), steps=(900, ))
    again = copy.deepcopy(plain)
    x = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    expected = gradients(plain, lambda x: plain(plain(x)), [x])
    found = gradients(again, lambda x: checkpoint(lambda x: again(again(x)), x,
                                                  use_reentrant=use_reentrant), [x])
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_same_batch_again_after_a_backward_is_another_call():
    plain = noisy(nn.Linear(8, 8).double(), steps=(900, ))
    again = copy.deepcopy(plain)
    x = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    for _ in range(3):
        expected = gradients(plain, plain, [x])
        found = gradients(again, in_regions(again, False), [x])
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_recomputations_that_cannot_be_told_apart_are_refused():
    model = noisy(nn.Linear(8, 8), steps=(900, ))
    x = torch.randn(4, 8, requires_grad=True)
    run = in_regions(model, False)
    with pytest.raises(RuntimeError, match='0: activation checkpointing repeats a forward with '
                                           'train_noise, and it is unclear which'):
        gradients(model, run, [x, x])


def test_forgotten_calls_are_refused():
    model = noisy(nn.Linear(8, 8), steps=(900, ))
    y = in_regions(model, False)(torch.randn(4, 8, requires_grad=True))
    for _ in range(70):
        model(torch.randn(4, 8))
    with pytest.raises(RuntimeError, match='over 64 lie before this backward'):
        y.sum().backward()


def test_a_resumed_model_draws_what_an_uninterrupted_one_would():
    x = torch.randn(4, 3, 6, 6)
    model = TinyNet()
    model.dropout.p = 0.0
    convert_(model, DenoiseRepConfig(train_noise=True, step_stride=100))
    randomise_(model, 0.1).train()
    model(x)
    resumed = TinyNet()
    resumed.dropout.p = 0.0
    convert_(resumed, DenoiseRepConfig(train_noise=True, step_stride=100))
    resumed.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(resumed.train()(x), model(x))


def test_the_count_of_draws_stays_out_of_plain_checkpoints():
    stock, model = TinyNet(), TinyNet()
    convert_(model, DenoiseRepConfig(train_noise=True))
    model.load_state_dict(stock.state_dict(), strict=True)
    assert 'mlp.0.denoiser.train_noise.calls' in model.state_dict()
    assert fused_state_dict(model).keys() == stock.state_dict().keys()
    assert {n for n, _ in model.named_buffers()} == {
        n for n in model.state_dict() if not n.endswith('train_noise.calls')} - {
        n for n, _ in model.named_parameters()}


def test_a_full_step_has_no_noise_to_add():
    with pytest.raises(ValueError, match="train_noise needs update='reverse'"):
        DenoiseRepConfig(train_noise=True, update='posterior')
    with pytest.raises(ValueError, match="train_noise needs update='reverse'"):
        DenoiseRepConfig(train_noise=True, strength=0.1)
