"""Recorded losses between forward and collection."""
import copy
import pickle

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from denoiserep_ext import DenoiseRepConfig, convert_, denoise_loss, fused_state_dict
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import TinyNet


def tracked():
    model = TinyNet().train()
    model.dropout.p = 0.0
    convert_(model, DenoiseRepConfig(solver='sgd'))
    return model


def test_models_are_copied_with_a_loss_not_collected():
    model, x = tracked(), torch.randn(2, 3, 6, 6)
    model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with pytest.raises(ValueError, match='No denoising loss was recorded'):
            denoise_loss(twin)
        twin(x)
        assert denoise_loss(twin).isfinite()
    assert denoise_loss(model).isfinite(), 'the copied model keeps its own'


@pytest.mark.parametrize('use_reentrant', [True, False])
def test_a_recomputation_of_the_whole_model_keeps_the_loss(use_reentrant):
    """It runs inside the host's backward, before predictors collect theirs."""
    model = tracked()
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    checkpoint(model, x, use_reentrant=use_reentrant).sum().backward()
    assert denoise_loss(model).isfinite()


@pytest.mark.filterwarnings('ignore:Weights without predictors')
def test_predictors_that_were_reset_are_used_again_once_they_train():
    model, x = tracked(), torch.randn(2, 3, 6, 6)
    model(x)
    model.load_state_dict(fused_state_dict(model))
    assert not any(layer.denoiser.fitted for _, layer in denoise_layers(model))
    model(x)
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(model))
