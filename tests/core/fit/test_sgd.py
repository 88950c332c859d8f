"""Steps on the denoising loss."""
import copy
import math

import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, PredictorSGD, convert_, denoise_loss


def trained(lr, layers=3, weight=1.0):
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(layers)])
    convert_(model, DenoiseRepConfig(layers='all', solver='sgd', steps=(500, ) * layers))
    return PredictorSGD(model.train(), lambda parameters: torch.optim.SGD(parameters, lr=lr), weight)


def test_a_step_returns_the_mean_loss_per_layer():
    trainer = trained(lr=0.0)
    trainer.model(torch.randn(5000, 4))
    assert trainer.step() == pytest.approx(1.0, abs=0.05)  # W_D = 0 predicts nothing


def test_a_loss_that_is_not_finite_is_refused_before_the_step():
    trainer = trained(lr=0.1)
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.model(torch.full((5, 4), math.nan))
    with pytest.raises(FloatingPointError, match='learning rate'):
        trainer.step()
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name]) or name.endswith('fitted'), name


def test_a_step_is_the_optimisers_on_the_weighted_loss_and_leaves_no_gradient():
    trainer, x = trained(lr=0.1, layers=1, weight=0.5), torch.randn(50, 4)
    twin = copy.deepcopy(trainer.model)
    twin(x)
    gradient, = torch.autograd.grad(denoise_loss(twin), [twin[0].denoiser.weight])
    trainer.model(x)
    trainer.step()
    torch.testing.assert_close(trainer.model[0].denoiser.weight, -0.1 * 0.5 * gradient)
    assert all(p.grad is None or not p.grad.any() for p in trainer.model.parameters())
