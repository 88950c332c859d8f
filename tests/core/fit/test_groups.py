"""One pass in several passes is one pass."""
import copy

import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, convert_
from denoiserep_ext.core.fit.groups import denoise_in_groups_, groups
from denoiserep_ext.core.fit.moments import Moments
from denoiserep_ext.core.fit.one_pass import collect_moments, solve_and_fuse_
from tests.helpers import TinyNet

BATCHES = [torch.randn(6, 3, 10, 10, generator=torch.Generator().manual_seed(i)) for i in range(3)]


def model():
    torch.manual_seed(0)
    return TinyNet().eval()


def whole(config, **options):
    """One pass over all layers."""
    net = model()
    convert_(net, config)
    results = solve_and_fuse_(net, collect_moments(net, BATCHES, **options))
    return net, results


@pytest.mark.parametrize('options', [
    {}, {'noise': 'relative'}, {'strength': 0.3, 'noise': 'relative'}, {'step_stride': 40},
    {'steps': (500, 400, 300, 200, 100)}, {'update': 'posterior', 'step_stride': 100}],
    ids=lambda options: '-'.join(map(str, options)) or 'default')
@pytest.mark.parametrize('memory', [1, 1500, 10**9])
@pytest.mark.parametrize('tokens', [5, None])
def test_groups_end_with_the_weights_of_one_pass(options, memory, tokens):
    config = DenoiseRepConfig(layers='all', **options)
    wanted, figures = whole(config, tokens=tokens)
    net = model()
    layers = dict(net.named_modules())
    found = denoise_in_groups_(net, BATCHES, config, memory, tokens=tokens)
    assert found == figures
    assert wanted.state_dict().keys() == net.state_dict().keys()
    for name, value in wanted.state_dict().items():
        assert torch.equal(value, net.state_dict()[name]), name
    plain = model()
    assert any(not torch.equal(value, net.state_dict()[name])
               for name, value in plain.state_dict().items())
    assert all(module is layers[name] and type(module) is type(plain.get_submodule(name))
               for name, module in net.named_modules())


def test_no_more_moments_are_held_than_asked_for(monkeypatch):
    held = []

    class Counted(Moments):

        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            held[-1].append(8 * self.size(*self.shape))

    def counting(*args, **options):
        held.append([])
        return collect_moments(*args, **options)

    monkeypatch.setattr('denoiserep_ext.core.fit.observers.Moments', Counted)
    monkeypatch.setattr('denoiserep_ext.core.fit.groups.collect_moments', counting)
    sizes = {'stem': 8 * Moments.size(1, 3)}
    denoise_in_groups_(model(), BATCHES, DenoiseRepConfig(layers='all'), 1500)
    assert 1 < len(held) < 5 and sum(map(len, held)) == 5 and held[0][0] == sizes['stem']
    assert all(sum(own) <= 1500 or len(own) == 1 for own in held)


def test_an_error_in_a_later_group_leaves_the_model_as_it_was():
    net = model()
    with torch.no_grad():
        net.block.conv1.weight.fill_(1e30)  # what follows is not finite
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(FloatingPointError):
        denoise_in_groups_(net, BATCHES, DenoiseRepConfig(layers='all'), 1)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert type(net.stem) is nn.Conv2d


def test_neighbours_that_fit_stand_together():
    assert groups(dict(a=2, b=3, c=4, d=9, e=1, f=4), 5) == [['a', 'b'], ['c'], ['d'], ['e', 'f']]
    assert groups({}, 5) == []
    with pytest.raises(ValueError, match='memory must be above 0'):
        denoise_in_groups_(model(), BATCHES, DenoiseRepConfig(layers='all'), 0)
