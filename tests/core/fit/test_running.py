"""Moments kept up while a host trains."""
import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, convert_, denoise_loss
from denoiserep_ext.core.fit.running import RunningMoments
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import TinyNet, moments_of


def linear(**options):
    model = nn.Sequential(nn.Linear(4, 4))
    convert_(model, DenoiseRepConfig(layers='all', **options))
    return model.train()


def test_relative_loss_takes_the_noise_power_from_the_moments():
    """Not from the features of the call itself: with W_D = 0 the loss per unit of power is 1 whatever
    the power is, so W_D = I tells: |eps - x_t|^2 / p depends on p."""
    losses = {}
    for seen in (1.0, 10.0, None):
        model = linear(solver='sgd', noise='relative', steps=(500, ))
        with torch.no_grad():
            model[0].denoiser.weight.copy_(torch.eye(4))
        x = torch.randn(3000, 4)
        if seen:
            running = RunningMoments(model, moment_tokens=None)
            running.observers['0'].moments.update(seen * x[:, None])
            running.observers['0'].every = 2  # the call below is not looked at
            running.observers['0'].calls = 1
        model(x)
        losses[seen] = denoise_loss(model).item()
    alpha_bar = model[0].coefficients.alpha_bar
    for seen, power in ((1.0, 1.0), (10.0, 100.0), (None, 1.0)):
        expected = (1 - (1 - alpha_bar)**0.5)**2 + alpha_bar / power
        assert losses[seen] == pytest.approx(expected, rel=0.05)


def test_refreshing_reports_the_loss_before_and_the_floor_and_lets_the_past_fade():
    model = linear(steps=(900, ))
    running = RunningMoments(model, moment_tokens=None, decay=0.25)
    model(torch.randn(200, 4))
    looked = running.refresh(solve=False)
    assert looked['loss']['0'] == pytest.approx(1.0) and looked['floor']['0'] < 0.9
    assert not model[0].denoiser.fitted and running.observers['0'].moments.count == 50
    running.refresh(solve=True)
    again = running.refresh(solve=False)
    assert again['loss']['0'] == pytest.approx(again['floor']['0'], abs=1e-5)


def test_resetting_forgets_all_features():
    model = linear()
    running = RunningMoments(model, moment_tokens=None)
    model(torch.randn(50, 4) + 100)
    running.reset_()
    x = torch.randn(60, 4)
    model(x)
    expected = moments_of(x[:, None]).covariance
    torch.testing.assert_close(running.observers['0'].moments.covariance, expected, rtol=1e-5, atol=1e-6)


def test_sharing_alone_changes_nothing():
    model = TinyNet().train()
    convert_(model)
    running = RunningMoments(model)
    model(torch.randn(2, 3, 6, 6))
    before = {name: observer.moments.covariance for name, observer in running.observers.items()}
    running.share_()
    assert all(torch.equal(before[name], o.moments.covariance) for name, o in running.observers.items())


def test_moments_resume_and_fit_their_layers_only():
    model = TinyNet().train()
    convert_(model)
    running = RunningMoments(model, every=4)
    model(torch.randn(2, 3, 6, 6))
    resumed = RunningMoments(model, every=4)
    resumed.load_state_dict(running.state_dict())
    for name, _ in denoise_layers(model):
        assert resumed.observers[name].calls == 1
        assert torch.equal(resumed.observers[name].moments.covariance,
                           running.observers[name].moments.covariance)
    with pytest.raises(ValueError, match='another selection of layers'):
        RunningMoments(linear()).load_state_dict(running.state_dict())
    for decay in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r'decay must lie in \[0, 1\]'):
            RunningMoments(model, decay=decay)
