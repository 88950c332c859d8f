"""The closed form where numbers are scarce: rounding, the eigenvalue bound, narrow layers."""
import copy
import math

import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, convert_, fit_one_pass_, fuse_
from denoiserep_ext.core.fit.moments import Moments, resolution
from denoiserep_ext.core.fit.one_pass import collect_moments, solve_, solve_and_fuse_
from denoiserep_ext.core.fit.optimum import Optimum, bounded_factors_
from denoiserep_ext.core.fit.running import RunningMoments
from denoiserep_ext.core.fit.symmetric import trace_of_inverse
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import converted, moments_of


def low_rank_features(samples=2000, channels=64, rank=16, std=178.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(rank, channels, generator=generator) / rank**0.5
    return std * torch.randn(samples, rank, generator=generator) @ mixing


def unit_model(channels=64, step=24):
    model = nn.Sequential(nn.Linear(channels, 8))
    convert_(model, DenoiseRepConfig(layers='all', steps=(step, )))
    return model


@pytest.mark.parametrize('std, rows', [(90.0, 2000), (178.0, 50), (178.0, 2000)])
@pytest.mark.parametrize('seed', [0, 1, 4, 11])
def test_no_predictor_exceeds_its_largest_possible_value(std, rows, seed):
    """||W_D|| <= 1 / sqrt(1 - abar), where float32 products leave eigenvalues below 1 - abar, too: just
    above zero, where there is a factor all the same, or below."""
    layer, x = unit_model()[0], low_rank_features(std=std, seed=seed)
    moments = Moments(1, 64, dtype=torch.float32)
    for part in x[:, None].split(rows):
        moments.update(part)
    optimum = Optimum(layer, moments)
    norm = torch.linalg.matrix_norm(optimum.weight[0], 2).item()
    assert norm <= 1.02 / math.sqrt(1 - layer.coefficients.alpha_bar)


def test_the_bound_is_restored_where_a_factor_exists_and_no_entry_shows_it():
    """An eigenvector spread over all channels: entries of S^-1 stay small whatever its eigenvalue is."""
    torch.manual_seed(0)
    vectors = torch.linalg.qr(torch.randn(2, 32, 32, dtype=torch.float64)).Q
    values = torch.linspace(1.0, 50.0, 32, dtype=torch.float64).repeat(2, 1)
    values[0, 0] = 0.2
    systems = (vectors * values.unsqueeze(-2)) @ vectors.mT
    least = torch.ones(2, dtype=torch.float64)
    inverse = torch.cholesky_inverse(bounded_factors_(systems.clone(), least, rounding=0.5 * least))
    expected = (vectors / values.clamp_min(1.0).unsqueeze(-2)) @ vectors.mT
    assert torch.linalg.inv(systems[0]).diagonal().max() < 1.0
    torch.testing.assert_close(inverse, expected, rtol=1e-10, atol=1e-12)


def test_a_factor_takes_the_memory_of_its_system_which_can_be_had_again():
    optimum = Optimum(unit_model()[0], moments_of(torch.randn(500, 1, 64)))
    system, place = optimum.system.clone(), optimum.system.data_ptr()
    assert optimum.factor.data_ptr() == place
    torch.testing.assert_close(optimum.factor @ optimum.factor.mT, system, rtol=1e-12, atol=1e-12)
    assert torch.equal(optimum.system, system)


def test_sound_systems_need_no_eigenvalues(monkeypatch):
    """Nor do features of low rank, whose least eigenvalue is the bound itself, nor layers at step 0."""
    monkeypatch.setattr(torch.linalg, 'eigh', None)
    for step, dtype, std in ((24, torch.float64, 178.), (24, torch.float32, 1.), (0, torch.float64, 1.)):
        moments = moments_of(low_rank_features(std=std)[:, None], dtype=dtype)
        optimum = Optimum(unit_model(step=step)[0], moments)
        assert torch.isfinite(optimum.weight).all() and bool(optimum.weight.any()) == (step > 0)


@pytest.mark.parametrize('channels, rank, std, step', [(64, 16, 178.0, 24), (768, 64, 50.0, 1)])
def test_the_default_pass_resolves_noise_that_float32_cannot(channels, rank, std, step):
    """Against a pass in float64, for fresh features off the subspace of those that were seen."""
    x = low_rank_features(2000, channels, rank, std)
    model, exact = unit_model(channels, step), unit_model(channels, step)
    exact.load_state_dict(model.state_dict())
    floors = fit_one_pass_(model, x.split(500))
    assert fit_one_pass_(exact, x.split(500), dtype=torch.float64) == pytest.approx(floors, rel=1e-5)
    torch.testing.assert_close(model[0].denoiser.weight, exact[0].denoiser.weight, rtol=1e-3,
                               atol=1e-3 / math.sqrt(1 - model[0].coefficients.alpha_bar))
    narrow = unit_model(channels, step)
    before = copy.deepcopy(narrow.state_dict())
    with pytest.raises(FloatingPointError, match=r'0: the variance of its noise.*dtype=torch\.float64'):
        fit_one_pass_(narrow, x.split(500), dtype=torch.float32)
    assert all(torch.equal(before[key], value) for key, value in narrow.state_dict().items())


def test_features_that_float64_cannot_hold_beside_the_noise_are_refused():
    model = unit_model(step=1)
    for dtype in (None, torch.float64):
        with pytest.raises(FloatingPointError, match=r'whose variance is .*e\+1\d\. Set more noise'):
            fit_one_pass_(model, [low_rank_features(std=3e6)], dtype=dtype)
    with pytest.raises(FloatingPointError, match='0: the variance of its noise'):
        solve_and_fuse_(model, collect_moments(model, [low_rank_features(std=3e6)]))


def test_small_features_stay_in_float32():
    """float64 is for what needs it: the default pass gives what a float32 pass does, bit by bit."""
    model = unit_model()
    x = low_rank_features(std=1.0)
    default, narrow = (collect_moments(model, x.split(100), dtype=dtype)['0']
                       for dtype in (None, torch.float32))
    assert torch.equal(default.covariance, narrow.covariance)
    wide = collect_moments(model, x.split(100), dtype=torch.float64)['0']
    assert not torch.equal(default.covariance, wide.covariance)


@pytest.mark.parametrize('strength, dtype', [(1e-3, torch.float32), (1e-6, torch.float64)])
def test_small_shares_of_the_features_power_take_float64(strength, dtype):
    model = nn.Sequential(nn.Linear(8, 8))
    convert_(model, DenoiseRepConfig(layers='all', noise='relative', strength=strength))
    x = 1e3 * torch.randn(500, 8)
    expected = collect_moments(model, [x], dtype=dtype)['0'].covariance
    assert torch.equal(collect_moments(model, [x])['0'].covariance, expected)


@pytest.mark.parametrize('channels, rows, rank', [(8, 20_000, 2), (64, 2000, 16), (256, 3000, 200)])
def test_rounding_is_what_moments_say_or_less(channels, rows, rank):
    """Within a factor of two, over long sums and low ranks; and not a hundred times less."""
    x = low_rank_features(rows, channels, rank)[:, None]
    narrow, wide = (moments_of(x, dtype=dtype) for dtype in (torch.float32, torch.float64))
    error = torch.linalg.matrix_norm(narrow.covariance[0] - wide.covariance[0], 2).item()
    claimed = (narrow.rounding / narrow.count).item()
    assert claimed / 100 < error < 2 * claimed
    assert wide.rounding.item() == pytest.approx(narrow.rounding.item() * 2**-29, rel=1e-3)


def test_rounding_is_merged_faded_and_kept_with_the_moments():
    x = low_rank_features()[:, None]
    whole = moments_of(x, dtype=torch.float32)
    parts = [moments_of(part, dtype=torch.float32) for part in x.split(900)]
    merged = parts[0].merge_(parts[1]).merge_(parts[2])
    torch.testing.assert_close(merged.rounding, whole.rounding, rtol=0.05, atol=0)
    copied = Moments(1, 64)
    copied.load_state_dict(merged.state_dict())
    assert torch.equal(copied.rounding, merged.rounding)
    old = {key: value for key, value in merged.state_dict().items() if key != 'rounding'}
    Moments(1, 64).load_state_dict(old)
    copied.load_state_dict(old)
    torch.testing.assert_close(copied.rounding, whole.rounding, rtol=0.05, atol=0)
    assert torch.equal(copied.decay_(0.5).rounding / copied.count, merged.rounding.new_tensor(
        [resolution(torch.float32)]) * copied.power(True))
    assert not copied.reset_().rounding.any()


def test_moments_in_training_turn_to_float64_where_float32_is_too_coarse():
    model = unit_model()
    running = RunningMoments(model, moment_tokens=None)
    model.train()
    for std, double in ((0.1, False), (178.0, True)):
        model(low_rank_features(std=std))
        running.refresh(solve=True)
        assert (running.observers['0'].moments.dtype == torch.float64) == double
    resumed = RunningMoments(unit_model(), moment_tokens=None)
    resumed.load_state_dict(running.state_dict())
    assert resumed.observers['0'].moments.dtype == torch.float64


def half_model(mean):
    """A float32 layer, and one in float16 whose b_D takes 1 / sqrt(1 - abar) = 100 times the mean."""
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4).half()

        def forward(self, x):
            self.first(x)
            return self.second((1e-3 * x + mean).half())

    model = Half()
    convert_(model, DenoiseRepConfig(layers='all', steps=(5, 1)))
    return model


def test_layers_whose_precision_cannot_hold_their_predictor_are_refused_when_they_are_fitted():
    x, words = torch.randn(200, 4), r'second: b_D .* 2e\+05, and float16, .* ends at 6\.6e\+04.*bfloat16'
    model = half_model(mean=2000.0)
    before = copy.deepcopy(model.state_dict())
    for fit in (lambda m: fit_one_pass_(m, [x]), lambda m: solve_and_fuse_(m, collect_moments(m, [x]))):
        with pytest.raises(FloatingPointError, match=words):
            fit(model)
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
        assert len(list(denoise_layers(model))) == 2
    running = RunningMoments(model.train())
    model(x)
    with pytest.raises(FloatingPointError, match=words):
        running.refresh(solve=True)
    assert not model.second.denoiser.fitted
    fine = half_model(mean=100.0)
    fit_one_pass_(fine, [x])
    assert torch.isfinite(fuse_(fine)(x)).all()


def test_predictors_of_single_layers_too_are_written_only_where_they_fit():
    layer = converted(nn.Linear(3, 3).half(), steps=(1, ), update='reverse')
    moments = moments_of(1e-3 * torch.randn(50, 1, 3) + 3000)
    with pytest.raises(FloatingPointError, match='b_D'):
        Optimum(layer, moments).write_()
    assert not layer.denoiser.fitted and not layer.denoiser.weight.any()
    with pytest.raises(FloatingPointError, match='b_D'):
        solve_(nn.Sequential(layer), {'0': moments})


@pytest.mark.parametrize('channels', [3, 255, 256, 300])
def test_the_floor_takes_the_trace_of_the_inverse_from_the_factor(channels):
    x = torch.randn(2, channels, 2 * channels, dtype=torch.float64)
    systems = x @ x.mT / channels + torch.eye(channels, dtype=torch.float64)
    found = trace_of_inverse(torch.linalg.cholesky(systems))
    expected = torch.linalg.inv(systems).diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
