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

    calls, product = [], folding._in_one_product
    monkeypatch.setattr(folding, '_in_one_product', lambda *args: calls.append(args) or product(*args))
    quick = found()
    assert len(calls) >= 3  # forward, backward, and twice
    monkeypatch.setattr(type(predictor), 'wholly_fitted', False)
    calls.clear()
    for one, other in zip(quick, found()):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert not calls


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('plain', [layer for layer in LAYERS if isinstance(layer, nn.Conv2d)], ids=str)
def test_folded_weights_lie_in_memory_as_the_weights_do(plain, layout):
    """Convolutions compute other last digits in another layout than that of a loaded checkpoint."""
    layer, _ = fitted(copy.deepcopy(plain).to(memory_format=layout))
    weight, _ = layer.folded()
    weight.sum().backward()
    for value in (weight, layer.fused_tensors()[0], layer.weight.grad):
        assert value.is_contiguous(memory_format=layout)


@pytest.mark.parametrize('change', [
    lambda p: p.reset_(), lambda p: p.fitted.lerp_(torch.zeros_like(p.fitted), 0.5),
    lambda p: p.load_state_dict({**p.state_dict(), 'fitted': torch.tensor(0.5)}),
    lambda p: p.load_state_dict({**p.state_dict(), 'fitted': torch.tensor(0.5)}, assign=True),
    lambda p: p.float().fitted.mul_(0.5)])
@pytest.mark.parametrize('copied', [lambda p: p, copy.deepcopy, 'a file'])
def test_whether_a_predictor_is_fitted_follows_whoever_writes_to_it(change, copied):
    predictor = fitted(nn.Linear(6, 4))[1]
    if copied == 'a file':
        buffer = io.BytesIO()
        torch.save(predictor, buffer)
        buffer.seek(0)
        other = torch.load(buffer, weights_only=False)
    else:
        other = copied(predictor)
    assert predictor.wholly_fitted
    change(other)
    assert not other.wholly_fitted and other.fitted < 1
    assert other.activate_().wholly_fitted and other.fitted == 1
    assert predictor.wholly_fitted


def test_the_device_is_not_asked_again_while_nobody_has_written(monkeypatch):
    layer, predictor = fitted(nn.Linear(6, 4))
    monkeypatch.setattr(torch.Tensor, 'item', None)
    layer.folded()
    predictor.set_(torch.ones_like(predictor.weight), torch.ones_like(predictor.bias))
    layer.folded()
