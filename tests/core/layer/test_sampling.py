"""Draws depend on all they are said to depend on, and on nothing else."""
import itertools
from functools import partial

import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, convert_, denoise_loss
from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.core.layer.sampling import draw, mix, seeded
from tests.helpers import TinyNet, converted

CPU = torch.device('cpu')


def numbers(layer, purpose='eps', call=1, **options):
    return torch.randint(2**62, (4, ), generator=seeded(layer, purpose, call, CPU, **options)).tolist()


def test_seeds_mix_every_value_and_their_order():
    seeds = {mix(*values) for values in itertools.product((0, 1, 2, 2**40), repeat=3)}
    assert len(seeds) == 4**3
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len({seed % 2**32 for seed in seeds}) == 4**3, "a CPU's generator takes the low half alone"


def test_seeds_are_the_published_generators():
    """SplitMix64's first output from state 0."""
    assert mix(0) == 0xE220A8397B1DCDAF >> 1


def test_draws_depend_on_seed_layer_purpose_and_call():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    convert_(model, DenoiseRepConfig(layers='all'))
    other = nn.Sequential(nn.Linear(4, 4))
    convert_(other, DenoiseRepConfig(layers='all', seed=1))
    drawn = [numbers(model[0]), numbers(model[1]), numbers(other[0]), numbers(model[0], 'loss'),
             numbers(model[0], call=2)]
    assert len({tuple(values) for values in drawn}) == len(drawn)
    assert numbers(model[0]) == drawn[0]


def test_draws_of_a_shared_purpose_are_the_same_on_every_rank(monkeypatch):
    layer = converted(nn.Linear(4, 4))
    alone = numbers(layer), numbers(layer, shared=True)
    monkeypatch.setattr('denoiserep_ext.core.layer.sampling.process_share', lambda: (1, 2))
    assert numbers(layer, shared=True) == alone[1]
    assert numbers(layer) != alone[0]


@pytest.mark.parametrize('layer, shape', [
    (nn.Linear, (0, 4)), (nn.Linear, (0, 7, 4)), (partial(nn.Conv2d, kernel_size=1), (0, 4, 5, 5))])
@pytest.mark.parametrize('tokens', [None, 6])
def test_empty_inputs_are_drawn_from(layer, shape, tokens):
    assert draw(converted(layer(4, 3)), torch.zeros(shape), tokens, 'loss', 1).shape == (0, 1, 4)


@pytest.mark.parametrize('noise', ['unit', 'relative'])
def test_a_batch_of_no_images_has_no_loss_and_a_gradient_of_zero(noise):
    model = TinyNet().train()
    model.block = nn.Identity()  # BatchNorm refuses empty batches by itself
    convert_(model, DenoiseRepConfig(layers='all', solver='sgd', loss_tokens=4, noise=noise,
                                     loss='l1+l2'))
    model(torch.zeros(0, 3, 6, 6))
    loss = denoise_loss(model)
    loss.backward()
    assert loss.item() == 0.0
    gradients = [p.grad for _, layer in denoise_layers(model) for p in layer.denoiser.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_empty_calls_do_not_dilute_the_loss():
    """A layer on all levels of a pyramid, where some have no regions."""
    def loss(*inputs):
        layer = converted(nn.Linear(4, 4), solver='sgd').train()
        for x in inputs:
            layer(x)
        return denoise_loss(nn.Sequential(layer)).item()

    x = torch.randn(50, 4)
    assert loss(x, torch.zeros(0, 4)) == loss(x)
