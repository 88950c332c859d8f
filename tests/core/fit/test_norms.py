"""BatchNorm statistics taken anew."""
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from denoiserep_ext.core.fit.norms import adapt_norms_, norms_of


@pytest.fixture
def model():
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 5, 3),
              nn.BatchNorm2d(5, momentum=0.3), nn.Flatten(), nn.Linear(5 * 16, 2)]
    net = nn.Sequential(*layers)
    for norm in norms_of(net):
        nn.init.uniform_(norm.running_var, 1, 3)
        nn.init.normal_(norm.running_mean)
    return net.eval().requires_grad_(False)


def test_statistics_are_those_of_the_images(model):
    """Of the first layer those of its input; of the second those behind the first, as normalised by
    them."""
    images = torch.randn(32, 3, 8, 8) * 2 + 1
    first, second = model[0](images), model[1]
    hidden = F.batch_norm(first, None, None, second.weight, second.bias, training=True)
    features = [first, model[4](model[2](hidden))]
    assert adapt_norms_(model, [images]) == 2
    for norm, inputs in zip(norms_of(model), features):
        torch.testing.assert_close(norm.running_mean, inputs.mean((0, 2, 3)))
        torch.testing.assert_close(norm.running_var, inputs.var((0, 2, 3)))


def test_several_batches_count_alike(model):
    first, second = torch.randn(8, 3, 8, 8), torch.randn(8, 3, 8, 8) + 1
    adapt_norms_(model, [first, second])
    means = [model[0](batch).mean((0, 2, 3)) for batch in (first, second)]
    torch.testing.assert_close(model[1].running_mean, (means[0] + means[1]) / 2)


def test_nothing_but_the_statistics_changes(model):
    before = copy.deepcopy(model)
    adapt_norms_(model, [torch.randn(8, 3, 8, 8)])
    assert not any(module.training for module in model.modules())
    assert [norm.momentum for norm in norms_of(model)] == [0.1, 0.3]
    changed = {key for key, value in model.state_dict().items()
               if not torch.equal(value, before.state_dict()[key])}
    assert {key.split('.')[1] for key in changed} == {'running_mean', 'running_var',
                                                      'num_batches_tracked'}


def test_a_layer_that_no_image_reaches_keeps_its_statistics(model):
    mean = model[5].running_mean.clone()
    assert adapt_norms_(model, [torch.randn(8, 3, 8, 8)], lambda net, batch: net[:3](batch)) == 1
    assert torch.equal(model[5].running_mean, mean)


@pytest.mark.parametrize('batches, error', [
    ([], ValueError), ([torch.full((4, 3, 8, 8), torch.nan)], FloatingPointError)])
def test_a_model_is_left_as_it_was_where_there_are_no_statistics(model, batches, error):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error):
        adapt_norms_(model, batches)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())


def test_a_model_without_batchnorm_is_refused():
    with pytest.raises(ValueError, match='no BatchNorm with statistics'):
        adapt_norms_(nn.Linear(2, 2), [torch.ones(1, 2)])
