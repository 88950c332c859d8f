"""The closed form, and the one pass that finds it."""
import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from denoiserep_ext import (
    DenoiseRepConfig,
    convert_,
    denoise_loss,
    fit_one_pass_,
    fuse_,
    step_sizes,
)
from denoiserep_ext.core.fit import optimum as module
from denoiserep_ext.core.fit.one_pass import (
    collect_moments,
    convert_to_fold_,
    count_images,
    observing,
    solve_,
    solve_and_fuse_,
)
from denoiserep_ext.core.fit.optimum import Optimum
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import TinyNet, converted, moments_of, randomise_, solve_layer_


@pytest.mark.parametrize('noise', ['unit', 'relative'])
@pytest.mark.parametrize('bias', [True, False])
def test_solution_is_the_least_squares_optimum(noise, bias):
    """Against a direct regression of noise on noisy features, in the limit of many draws."""
    layer = converted(nn.Linear(4, 4, bias=bias), noise=noise, steps=(700, ))
    mixing = torch.tensor([[1., .5, 0, 0], [0, 2, 0, 0], [0, 0, .1, 0], [.3, 0, 0, 1]])
    x = (torch.randn(400_000, 4) @ mixing + 1).double()
    moments = moments_of(x[:, None])
    optimum = solve_layer_(layer, moments)
    weight, offset = optimum.weight, optimum.bias
    alpha_bar = layer.coefficients.alpha_bar
    second = moments.second_moment(bias)[0]
    power = 1.0 if noise == 'unit' else second.diagonal().mean().sqrt().item()
    eps = torch.randn_like(x) * power
    noisy = math.sqrt(alpha_bar) * x + math.sqrt(1 - alpha_bar) * eps
    design = torch.cat([noisy, torch.ones(len(x), 1)], 1) if bias else noisy
    regression = torch.linalg.lstsq(design, eps).solution
    torch.testing.assert_close(weight[0], regression[:4].T, atol=2e-2, rtol=2e-2)
    if bias:
        torch.testing.assert_close(offset[0], regression[4], atol=2e-2, rtol=2e-2)
    error = (eps - design @ regression).square().mean() / power**2
    assert Optimum(layer, moments).loss() == pytest.approx(Optimum(layer, moments).floor(), abs=1e-6)
    assert error.item() == pytest.approx(Optimum(layer, moments).floor(), rel=1e-2)


def test_expected_loss_of_any_predictor_equals_its_sampled_loss():
    layer = randomise_(converted(nn.Linear(4, 3), solver='sgd'), 0.3)
    x = torch.randn(300_000, 4) * torch.tensor([2., 1, .5, .1]) + 1
    layer.train()(x)
    sampled = denoise_loss(nn.Sequential(layer)).item()
    assert Optimum(layer, moments_of(x[:, None])).loss() == pytest.approx(sampled, rel=5e-3)


def test_posterior_step_is_the_posterior_mean():
    """method: E[x] + C (C + lambda N)^-1 (x - E[x]) with lambda = (1 - abar) / abar."""
    layer = converted(nn.Linear(5, 2).double(), noise='relative').eval()
    x = torch.randn(60, 5, dtype=torch.float64) * torch.arange(1., 6) + 3
    moments = moments_of(x[:, None])
    solve_layer_(layer, moments)
    covariance, mean = moments.covariance[0], moments.mean[0]
    level = 1 / layer.coefficients.alpha_bar - 1
    noise = covariance.diagonal().mean() * torch.eye(5, dtype=torch.float64)
    expected = mean + (x - mean) @ torch.linalg.solve(covariance + level * noise, covariance)
    torch.testing.assert_close(layer.denoise(x), expected, rtol=1e-9, atol=1e-9)


def test_singular_covariances_are_solved():
    """Dead channels, fewer samples than channels, constant and all-zero features."""
    dead = torch.randn(30, 1, 6)
    dead[..., 2] = 0
    for x in (dead, torch.randn(3, 1, 6), torch.full((9, 1, 6), 2.), torch.zeros(9, 1, 6),
              torch.randn(9, 1, 6) * 1e8):
        for noise in ('unit', 'relative'):
            layer = converted(nn.Linear(6, 6), noise=noise)
            solve_layer_(layer, moments_of(x, dtype=torch.float32))
            assert torch.isfinite(layer.denoiser.weight).all()
            weight, bias = layer.fused_tensors()
            assert torch.isfinite(weight).all() and torch.isfinite(bias).all()


def test_non_finite_features_are_refused_by_name():
    model = TinyNet()
    convert_(model)
    before = copy.deepcopy(model.state_dict())
    batch = torch.randn(2, 3, 6, 6)
    batch[0, 0, 0, 0] = math.nan
    with pytest.raises(FloatingPointError, match=r'block\.conv1: its input'):
        fit_one_pass_(model, [batch])
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_one_pass_changes_nothing_but_predictors():
    model = TinyNet().train()
    convert_(model, DenoiseRepConfig(noise='relative', update='posterior', step_stride=50))
    before = copy.deepcopy(model.state_dict())
    rng = torch.get_rng_state()
    losses = fit_one_pass_(model, [(torch.randn(4, 3, 6, 6, generator=torch.Generator()), 0)] * 3)
    assert torch.equal(torch.get_rng_state(), rng)
    assert set(losses) == {name for name, _ in denoise_layers(model)}
    assert all(0 < loss < 1 for loss in losses.values())
    assert all(m.training for m in model.modules())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) == ('denoiser' not in key), key


def test_one_pass_needs_batches_and_used_layers():
    model = TinyNet()
    with pytest.raises(ValueError, match='call convert_'):
        fit_one_pass_(model, [])
    convert_(model)
    with pytest.raises(ValueError, match=r'No features reached block\.conv1'):
        fit_one_pass_(model, [])
    low_rank = TinyNet()
    convert_(low_rank, DenoiseRepConfig(solver='sgd', rank=2))
    unread = iter([torch.randn(1, 3, 6, 6)])
    with pytest.raises(ValueError, match='low-rank'):
        fit_one_pass_(low_rank, unread)
    next(unread)  # it was refused before the pass
    moments = collect_moments(low_rank, [torch.randn(1, 3, 6, 6)])
    for solve in (solve_, solve_and_fuse_):
        with pytest.raises(ValueError, match=r'block\.conv1: a low-rank .* convert with rank=None'):
            solve(low_rank, moments)


def test_batches_without_images_count_for_nothing():
    """An empty batch among others, and an empty probe."""
    model, batches = TinyNet(), list(torch.randn(2, 4, 3, 6, 6))
    convert_(model)
    empty = torch.empty(0, 3, 6, 6)
    some = collect_moments(model, [*batches, empty], tokens=5, probe=empty)
    for name, moments in collect_moments(model, batches, tokens=5).items():
        assert torch.equal(some[name].covariance, moments.covariance)


def settings_of(model):
    return [(module.training, vars(module).get('observers'), vars(module).get('observing'),
             vars(module).get('train_path')) for module in model.modules()]


def test_observing_leaves_the_model_as_it_was_after_an_error_too():
    model = TinyNet().train()
    convert_(model, DenoiseRepConfig(solver='sgd'))
    model.block.bn1.eval()
    model.mlp[0].observing, model.mlp[0].train_path = False, 'explicit'
    before = settings_of(model)
    with observing(model):
        assert settings_of(model) != before
    assert settings_of(model) == before
    with pytest.raises(KeyError), observing(model):
        raise KeyError
    assert settings_of(model) == before


def test_fused_weights_of_a_zero_layer_have_moved_by_nothing():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3))
    nn.init.zeros_(model[0].weight)
    convert_(model, DenoiseRepConfig(layers='all', strength=0.5))
    figures = solve_and_fuse_(model, collect_moments(model, [torch.randn(9, 3)]))
    assert figures['0'][1] == 0.0


def test_arguments_of_the_pass_reach_it():
    """What fit_one_pass_ shows is what collect_moments takes."""
    model = TinyNet().double()
    convert_(model)
    twin, batches = copy.deepcopy(model), torch.randn(2, 4, 3, 6, 6, dtype=torch.float64)
    options = dict(tokens=3, forward=lambda m, batch: m(batch['x'] / 2), count=lambda batch: 2,
                   share=(1, 2), probe={'x': 5 * batches[1]}, dtype=torch.float32)
    inputs = [{'x': batch} for batch in batches]
    floors = fit_one_pass_(model, inputs, **options)
    assert floors == solve_(twin, collect_moments(twin, inputs, **options))
    for name in options:
        other = copy.deepcopy(twin)
        rest = {key: value for key, value in options.items() if key != name}
        if name == 'forward':
            rest['forward'] = lambda m, batch: m(batch['x'])
        fit_one_pass_(other, inputs, **rest)
        assert any(not torch.equal(mine.denoiser.weight, theirs.denoiser.weight) for (_, mine), (
            _, theirs) in zip(denoise_layers(other), denoise_layers(model))), name


def covariance_error(tokens, seed, images=64):
    """How far the covariance from drawn positions is from that of all positions."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))
    x = torch.randn(images, 3, 30, 30) * torch.tensor([3., 1, .2])[:, None, None]
    convert_(model, DenoiseRepConfig(layers='all', seed=seed))
    full = collect_moments(model, x.split(8), tokens=None, dtype=torch.float64)['0']
    part = collect_moments(model, x.split(8), tokens=tokens, dtype=torch.float64)['0']
    assert part.count == tokens * images
    return (part.covariance - full.covariance)[0], (part.mean - full.mean)[0]


def test_drawn_positions_converge_at_the_square_root_of_their_number():
    errors = {tokens: np.mean([covariance_error(tokens, seed)[0].norm().item() for seed in range(40)])
              for tokens in (4, 64)}
    assert errors[4] / errors[64] == pytest.approx(4.0, rel=0.25)


def test_drawn_positions_are_unbiased():
    draws = [covariance_error(4, seed) for seed in range(200)]
    for errors in zip(*draws):
        errors = torch.stack(errors)
        standard_error = errors.std(0) / len(errors)**0.5
        assert (errors.mean(0).abs() < 4.5 * standard_error).all()


def test_every_image_counts_alike():
    """A batch whose images differ: each gives as many vectors."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1))
    convert_(model, DenoiseRepConfig(layers='all'))
    x = torch.arange(5.).view(5, 1, 1, 1).expand(5, 1, 9, 9)
    moments = collect_moments(model, [x], tokens=3)['0']
    assert moments.count == 15
    assert moments.mean.item() == pytest.approx(2.0, abs=1e-12)


def test_draws_depend_on_seed_and_batch_and_nothing_else():
    plain, batches = TinyNet(), torch.randn(2, 4, 3, 6, 6)

    def moments(seed=0, order=(0, 1)):
        model = copy.deepcopy(plain)
        convert_(model, DenoiseRepConfig(seed=seed))
        total = collect_moments(model, [batches[i] for i in order], tokens=2)
        return total['block.conv1'].covariance

    first, generator = moments(), torch.get_rng_state()
    assert torch.equal(first, moments())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not torch.equal(first, moments(seed=1))
    assert not torch.equal(first, moments(order=(1, 0)))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_shares_of_a_pass_merge_to_the_whole(dtype):
    """To 1e-12, in float32 too, when all shares centre on the same batch."""
    model = TinyNet()
    convert_(model)
    batches = torch.randn(7, 4, 3, 6, 6)
    whole = collect_moments(model, batches, tokens=5, dtype=dtype)
    parts = [collect_moments(model, batches[k::3], tokens=5, dtype=dtype, share=(k, 3),
                             probe=batches[0]) for k in range(3)]
    for name, expected in whole.items():
        merged = parts[2][name].merge_(parts[0][name]).merge_(parts[1][name])
        assert merged.count == expected.count
        torch.testing.assert_close(merged.covariance, expected.covariance, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(merged.mean, expected.mean, rtol=1e-12, atol=1e-12)


def test_equal_systems_are_solved_together_as_alone(monkeypatch):
    model = nn.Sequential(*[nn.Linear(6, 6) for _ in range(5)], nn.Linear(6, 3))
    convert_(model, DenoiseRepConfig(layers='all', noise='relative', step_stride=20))
    moments = collect_moments(model, [torch.randn(40, 6)])
    calls, factors = [], module.bounded_factors_
    monkeypatch.setattr(module, 'bounded_factors_',
                        lambda s, *rest: calls.append(len(s)) or factors(s, *rest))
    floors = solve_(model, moments)
    assert calls == [6]
    monkeypatch.setattr(module, 'STACK', 72)
    twin = copy.deepcopy(model)
    assert solve_(twin, moments) == pytest.approx(floors, rel=1e-12)
    assert calls == [6, 2, 2, 2]
    for (name, layer), (_, other) in zip(denoise_layers(model), denoise_layers(twin)):
        torch.testing.assert_close(layer.denoiser.weight, other.denoiser.weight)
        assert Optimum(layer, moments[name]).floor() == pytest.approx(floors[name], rel=1e-12)


@pytest.mark.parametrize('options', [{}, dict(noise='relative', strength=0.3), dict(step_stride=100)])
def test_solving_and_fusing_layer_by_layer_is_fitting_then_fusing(options):
    """Though no predictor is computed: in float64, where a predictor holds what is solved."""
    model = TinyNet().double()
    convert_(model, DenoiseRepConfig(layers='all', **options))
    twin = copy.deepcopy(model)
    batches = torch.randn(2, 4, 3, 6, 6, dtype=torch.float64)
    moments = collect_moments(model, batches)
    floors = solve_(model, moments)
    sizes = step_sizes(model)
    figures = solve_and_fuse_(twin, moments)
    assert {name: size for name, (_, size) in figures.items()} == pytest.approx(sizes, rel=1e-10)
    assert {name: floor for name, (floor, _) in figures.items()} == pytest.approx(floors, rel=1e-10)
    for key, value in fuse_(model).state_dict().items():
        torch.testing.assert_close(twin.state_dict()[key], value, rtol=1e-11, atol=1e-11)
    assert not any(True for _ in denoise_layers(twin))


def test_strength_is_the_level_of_the_posterior_step():
    """method: E[x] + C (C + lambda N)^-1 (x - E[x]), lambda given exactly."""
    for strength in (1e-6, 0.3, 50.0):
        layer = nn.Linear(4, 2).double()
        model = nn.Sequential(layer)
        convert_(model, DenoiseRepConfig(layers='all', noise='relative', strength=strength))
        x = torch.randn(60, 4, dtype=torch.float64) * torch.arange(1., 5) + 3
        moments = moments_of(x[:, None])
        solve_layer_(layer, moments)
        covariance, mean = moments.covariance[0], moments.mean[0]
        noise = covariance.diagonal().mean() * torch.eye(4, dtype=torch.float64)
        expected = mean + (x - mean) @ torch.linalg.solve(covariance + strength * noise, covariance)
        torch.testing.assert_close(layer.eval().denoise(x), expected, rtol=1e-9, atol=1e-9)


def test_strength_zero_is_the_plain_model_and_excludes_steps():
    model = TinyNet()
    before = copy.deepcopy(model.state_dict())
    convert_(model, DenoiseRepConfig(strength=0))
    solve_and_fuse_(model, collect_moments(model, [torch.randn(4, 3, 6, 6)]))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    for wrong in (dict(strength=-1), dict(strength=math.inf), dict(strength=True),
                  dict(strength=1, step_stride=2), dict(strength=1, steps=(1, ))):
        with pytest.raises(ValueError, match='strength'):
            DenoiseRepConfig(**wrong)


def test_images_are_counted_in_nested_batches():
    x = torch.zeros(3, 2)
    for batch in (x, (x, 1), {'images': x, 'labels': 0}, [{'a': 'text', 'b': [x]}]):
        assert count_images(batch) == 3
    with pytest.raises(ValueError, match='count='):
        count_images(['text'])


@pytest.mark.parametrize('kind', ['depthwise', 'grouped'])
def test_grouped_convs_hold_moments_of_their_groups_only(kind):
    groups = 64 if kind == 'depthwise' else 8
    model = nn.Sequential(nn.Conv2d(64, 64, 3, groups=groups))
    convert_(model, DenoiseRepConfig(layers='all'))
    with observing(model) as moments:
        model(torch.randn(2, 64, 8, 8))
    assert moments['0'].numel == 64 * (1 + 64 // groups)


def test_a_pass_that_is_folded_at_once_holds_no_predictors():
    config = DenoiseRepConfig(layers='all', strength=0.3)
    model, batches = TinyNet().eval(), torch.randn(2, 4, 3, 6, 6)
    twin = copy.deepcopy(model)
    convert_to_fold_(model, config)
    for _, layer in denoise_layers(model):
        assert layer.denoiser.weight.untyped_storage().nbytes() == 4
    convert_(twin, config)
    for net in (model, twin):
        solve_and_fuse_(net, collect_moments(net, batches))
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_low_rank_predictor_is_refused_by_such_a_pass():
    model = TinyNet()
    convert_to_fold_(model, DenoiseRepConfig(solver='sgd', rank=2))
    with pytest.raises(ValueError, match='a low-rank predictor is trained, not solved'):
        solve_and_fuse_(model, collect_moments(model, [torch.randn(2, 3, 6, 6)]))
