"""The fold in one product, where a predictor is known to be fitted."""
import copy
import io

import pytest
import torch
from torch import nn

from denoiserep_ext.core.layer import folding
from tests.helpers import converted

LAYERS = [nn.Linear(6, 4), nn.Linear(6, 4, bias=False), nn.Conv2d(6, 4, 3), nn.Conv2d(6, 4, 1),
          nn.Conv2d(6, 4, (1, 3), groups=2), nn.Conv2d(6, 6, 3, groups=6)]


def fitted(layer):
    """A converted layer whose predictor has been set to something drawn."""
    layer = converted(copy.deepcopy(layer).double())
    predictor = layer.denoiser
    return layer, predictor.set_(torch.randn_like(predictor.weight), None if predictor.bias is None
                                 else torch.randn_like(predictor.bias))


@pytest.mark.parametrize('plain', LAYERS, ids=str)
def test_one_product_is_the_fold_and_has_its_gradients(plain, monkeypatch):
    """Against the sum of products, which counts a predictor by how far it is fitted; twice over."""
    layer, predictor = fitted(plain)
    parameters = list(layer.parameters())

    def found():
        values = [value for value in layer.folded() if value is not None]
        first = torch.autograd.grad(sum(v.sin().sum() for v in values), parameters, create_graph=True)
        return [*values, *first, *torch.autograd.grad(sum(g.cos().sum() for g in first), parameters)]

    calls, mixed = [], folding._mixed
    monkeypatch.setattr(folding, '_mixed', lambda *args: calls.append(args) or mixed(*args))
    assert predictor.known_fitted
    quick = found()
    assert len(calls) >= 3  # forward, backward, and twice
    predictor._fitted_since = None
    calls.clear()
    for one, other in zip(quick, found()):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert not calls


def test_a_predictor_is_known_to_be_fitted_while_nobody_else_has_written_to_it():
    predictor = fitted(nn.Linear(6, 4))[1]
    assert predictor.known_fitted
    state = copy.deepcopy(predictor.state_dict())
    buffer = io.BytesIO()
    torch.save(predictor, buffer)
    buffer.seek(0)
    for copied in (copy.deepcopy(predictor), torch.load(buffer, weights_only=False)):
        assert copied.fitted == 1 and not copied.known_fitted
        assert copied.activate_().known_fitted
    predictor.fitted.lerp_(torch.zeros_like(predictor.fitted), 0.5)  # as an average of weights does
    assert not predictor.known_fitted
    predictor.activate_()
    for change in (predictor.reset_, lambda: predictor.load_state_dict(state), predictor.float):
        assert predictor.known_fitted
        change()
        assert not predictor.known_fitted
        predictor.activate_()
