import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from denoiserep_ext import DenoiseRepConfig, NoiseSchedule


def test_first_and_last_beta_are_the_papers():
    schedule = NoiseSchedule()
    assert schedule.beta(1) == 1e-4
    assert schedule.beta(1000) == pytest.approx(2e-3, rel=1e-12)
    assert schedule.alpha_bar(1) == 1 - 1e-4
    product = math.prod(1 - schedule.beta(t) for t in range(1, 38))
    assert schedule.alpha_bar(37) == pytest.approx(product, rel=1e-14)


def test_steps_are_one_based_and_zero_is_the_identity():
    schedule = NoiseSchedule()
    one = schedule.coefficients(1)
    assert one.c1 == pytest.approx(1e-4 / (math.sqrt(1e-4) * math.sqrt(1 - 1e-4)))
    assert one.c2 == pytest.approx(1e-2)
    assert one.c3 == pytest.approx(1 / math.sqrt(1 - 1e-4))
    zero = schedule.coefficients(0)
    assert (zero.scale, zero.c1, zero.c2, zero.c3) == (1, 0, 0, 1)


def test_posterior_step_inverts_the_forward_process():
    """Given the true noise, the full step returns the clean feature."""
    c = NoiseSchedule().coefficients(300, 'posterior')
    clean, noise = 1.7, -0.4
    noisy = (math.sqrt(c.alpha_bar) * clean + math.sqrt(1 - c.alpha_bar) * noise)
    x = noisy / c.scale
    assert c.c3 * (c.scale * x) - c.c1 * noise == pytest.approx(clean, rel=1e-12)


def test_every_layer_has_its_own_step_input_side_noisiest():
    names = [f'l{i}' for i in range(24)]
    assert DenoiseRepConfig().steps_for(names) == tuple(range(24, 0, -1))
    assert DenoiseRepConfig(step_stride=3).steps_for(names)[:2] == (72, 69)
    assert DenoiseRepConfig(step_stride=0).steps_for(names) == (0, ) * 24
    assert DenoiseRepConfig(steps=[5, 9]).steps_for(names[:2]) == (5, 9)


@pytest.mark.parametrize('step', [-1, 1001, 2.0, True, None])
def test_out_of_range_steps_name_the_layer_and_the_remedy(step):
    with pytest.raises(ValueError, match=r'head\.fc: step .* out of range.*step_stride'):
        NoiseSchedule().check_step(step, where='head.fc')


def test_strides_beyond_the_schedule_are_refused():
    with pytest.raises(ValueError, match='a: step 2000 is out of range'):
        DenoiseRepConfig(step_stride=1000).steps_for(['a', 'b'])
    with pytest.raises(ValueError, match='steps lists 1 values for 2'):
        DenoiseRepConfig(steps=[1]).steps_for(['a', 'b'])


@pytest.mark.parametrize('options, message', [
    (dict(noise='gaussian'), "Unknown noise 'gaussian': choose one of unit, relative"),
    (dict(solver='adam'), 'Unknown solver'),
    (dict(update='ddim'), 'Unknown update'),
    (dict(loss='huber'), 'Unknown loss'),
    (dict(rank=4), "rank needs solver='sgd'"),
    (dict(rank=0, solver='sgd'), 'rank must be'),
    (dict(loss_tokens=-1), 'loss_tokens must be'),
    (dict(step_stride=-1), 'step_stride must be'),
    (dict(beta_end=1.0), 'beta_end must lie'),
    (dict(num_steps=0), 'num_steps must be'),
    (dict(beta_start='1e-4'), 'beta_start must lie'),
    (dict(strength='1'), 'strength must be'),
    (dict(strength=math.nan), 'strength must be'),
])
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        DenoiseRepConfig(**options)


@pytest.mark.parametrize('options, message', [
    (dict(strength=1e80), r'strength=1e\+80: .* too extreme for float32: features would vanish'),
    (dict(strength=1e-17), 'strength=1e-17: .* too extreme for float32: features would stay'),
    (dict(beta_start=1e-18, beta_end=1e-18), 'head.fc: at step 1, .* features would stay'),
    (dict(beta_start=0.9, beta_end=0.9, steps=[900], update='posterior'),
     'head.fc: at step 900, .* features would vanish'),
])
def test_levels_that_float32_cannot_hold_are_refused_before_anything_is_converted(options, message):
    with pytest.raises(ValueError, match=message):
        DenoiseRepConfig(**options).steps_for(['head.fc'])


@pytest.mark.parametrize('strength', [1e-15, 1e37])
def test_levels_that_float32_can_hold_denoise_by_normal_numbers(strength):
    c = DenoiseRepConfig(strength=strength).coefficients(1)
    least = torch.finfo(torch.float32).tiny
    for value in (c.alpha_bar, c.scale, c.c1, c.c3, c.identity, c.noise_weight):
        assert least <= torch.tensor(value, dtype=torch.float32) < math.inf


def test_a_strength_beside_an_extreme_schedule_has_a_step_for_reports():
    config = DenoiseRepConfig(strength=0.5, beta_end=0.99)
    assert config.steps_for(['a']) == (config.schedule.nearest_step(0.5), )


@pytest.mark.parametrize('steps', [np.array([5, 9]), [np.int64(5), np.int32(9)], torch.tensor([5, 9]),
                                   range(5, 10, 4)], ids=lambda steps: type(steps).__name__)
def test_steps_become_plain_integers(steps):
    config = DenoiseRepConfig(steps=steps)
    assert config.steps == (5, 9)
    assert {type(step) for step in config.steps} == {int}


def test_numbers_become_plain_ones_that_checkpoints_may_hold():
    config = DenoiseRepConfig(strength=np.float32(0.5), beta_end=np.float64(0.002), seed=np.int64(3),
                              num_steps=np.int32(100))
    assert {type(value) for value in (config.strength, config.beta_end)} == {float}
    assert {type(value) for value in (config.seed, config.num_steps)} == {int}
    assert asdict(config)['strength'] == 0.5


@pytest.mark.parametrize('step', [-1, 2.0, True, None])
def test_steps_that_are_no_steps_are_named(step):
    with pytest.raises(ValueError, match=r'steps\[1\] must be an integer >= 0'):
        DenoiseRepConfig(steps=[1, step])


@pytest.mark.parametrize('options', [dict(layers=3), dict(layers=[1]), dict(steps='12'), dict(steps=3),
                                     dict(steps={1, 2})])
def test_wrong_types_are_named(options):
    with pytest.raises(TypeError, match=next(iter(options))):
        DenoiseRepConfig(**options)
