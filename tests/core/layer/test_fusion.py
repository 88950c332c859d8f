"""What is fused, from which tensors, in which precision; and what is refused."""
import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from denoiserep_ext import (
    DenoiseRepConfig,
    convert_,
    explicit_path,
    fuse_,
    fused_state_dict,
    held_fused,
    step_sizes,
    unconvert_,
)
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.elsewhere import GPU, SecondDevice, moved_
from tests.helpers import TinyNet, randomise_


def fitted(seed=0, **options):
    model = TinyNet().eval()
    convert_(model, DenoiseRepConfig(step_stride=100, update='posterior', **options))
    return randomise_(model, 0.1, seed)


def snapshot(model):
    types = {name: type(module) for name, module in model.named_modules()}
    return types, {name: value.clone() for name, value in model.state_dict().items()}


def assert_unchanged(model, before):
    types, state = before
    assert {name: type(module) for name, module in model.named_modules()} == types
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('layer', [nn.Linear(96, 32), nn.Conv2d(64, 32, 3, groups=2)], ids=str)
def test_the_fold_is_computed_in_float64_and_rounded_once(layer, dtype):
    model = nn.Sequential(copy.deepcopy(layer).to(dtype))
    convert_(model, DenoiseRepConfig(layers='all', steps=[700], update='posterior'))
    predictor, c = randomise_(model, 0.1)[0].denoiser, model[0].coefficients
    wide = model[0].weight.detach().double().reshape(predictor.groups, -1, *layer.weight.shape[1:])
    mixed = torch.einsum('goi...,gij->goj...', wide, predictor.weight.double())
    shift = torch.einsum('goik,gi->go', wide.reshape(*wide.shape[:3], -1), predictor.bias.double())
    weight = c.identity * wide - c.noise_weight * mixed
    bias = model[0].bias.detach().double() - c.c1 * shift.flatten()
    fused = fuse_(model)[0]
    assert torch.equal(fused.weight, weight.reshape(layer.weight.shape).to(dtype))
    assert torch.equal(fused.bias, bias.to(dtype))


def test_low_rank_predictors_are_multiplied_out_in_float64():
    model = nn.Sequential(nn.Linear(64, 32))
    convert_(model, DenoiseRepConfig(layers='all', steps=[700], solver='sgd', rank=8))
    predictor, c = randomise_(model, 0.1)[0].denoiser, model[0].coefficients
    matrix = (predictor.scale.double() * torch.eye(64, dtype=torch.float64)
              + predictor.up.double() @ predictor.down.double())[0]
    wide = model[0].weight.detach().double()
    expected = (c.identity * wide - c.noise_weight * (wide @ matrix)).float()
    assert torch.equal(fuse_(model)[0].weight, expected)


def test_a_given_state_is_fused_with_its_own_predictors():
    """Bit for bit what fusing the model it comes from gives, whatever the live predictors are."""
    model, other = fitted(seed=0), fitted(seed=1)
    state = {f'ema.{name}': value for name, value in other.state_dict().items()}
    found = fused_state_dict(model, state, prefix='ema.')
    for name, value in fuse_(other).state_dict().items():
        assert torch.equal(found[f'ema.{name}'], value), name


@pytest.mark.parametrize('drop, missing', [
    ('.denoiser.', r'block\.conv1\.denoiser\.\*'), ('conv1.weight', r'block\.conv1\.weight')])
def test_a_state_without_predictors_is_refused(drop, missing):
    model = fitted()
    before = snapshot(model)
    state = {name: value for name, value in model.state_dict().items() if drop not in name}
    with pytest.raises(ValueError, match=f'The state has no {missing}: it is plain or fused already'):
        fused_state_dict(model, state)
    assert_unchanged(model, before)


def parametrise_(layer):
    parametrizations.weight_norm(layer)


def bare_(layer):
    layer.bias = None


@pytest.mark.parametrize('change, message', [
    (parametrise_, r'mlp\.2: its weight is no parameter any more'),
    (parametrizations.spectral_norm, r'mlp\.2: its weight is no parameter any more'),
    (nn.utils.spectral_norm, r'mlp\.2: its weight is no parameter any more'),
    (lambda layer: prune.l1_unstructured(layer, 'weight', 0.5), r'mlp\.2: its weight is no parameter'),
    (lambda layer: prune.l1_unstructured(layer, 'bias', 0.5), r'mlp\.2: its bias is no parameter'),
    (bare_, r'mlp\.2: its bias was taken away after the conversion'),
])
def test_layers_changed_after_the_conversion_are_refused(change, message):
    model = fitted()
    change(model.mlp[2])
    before, hooks = snapshot(model), len(model.mlp[2]._forward_pre_hooks)
    actions = [fuse_, fused_state_dict, lambda model: held_fused(model).__enter__(),
               lambda model: model.mlp[2].fuse()]
    for action in actions if change is bare_ else [*actions, unconvert_]:
        with pytest.raises(ValueError, match=message):
            action(model)
        assert_unchanged(model, before)
        assert len(model.mlp[2]._forward_pre_hooks) == hooks


def test_a_layer_without_its_bias_is_still_unconverted():
    model = fitted()
    bare_(model.mlp[2])
    assert type(unconvert_(model).mlp[2]) is nn.Linear
    assert model.mlp[2].bias is None


def test_changes_undone_are_no_obstacle():
    model, x = fitted(), torch.randn(2, 3, 6, 6)
    prune.l1_unstructured(model.mlp[2], 'weight', 0.5)
    expected = model(x)
    prune.remove(model.mlp[2], 'weight')
    torch.testing.assert_close(fuse_(model)(x), expected)


def test_fused_weights_loaded_into_a_fitted_model_are_not_denoised_again():
    model, x = fitted(), torch.randn(2, 3, 6, 6)
    fused, expected = fused_state_dict(model), model(x)
    with pytest.warns(UserWarning, match='the predictors were reset'):
        model.load_state_dict(fused, strict=True)
    torch.testing.assert_close(model(x), expected)
    assert all(not layer.denoiser.fitted for _, layer in denoise_layers(model))
    assert all(torch.equal(fuse_(model).state_dict()[name], value) for name, value in fused.items())


@pytest.mark.filterwarnings('error')
def test_loading_that_means_what_it_says_stays_silent():
    plain, model = TinyNet().state_dict(), TinyNet()
    convert_(model)
    model.load_state_dict(plain, strict=True)  # a pretrained checkpoint before fitting
    randomise_(model)
    raw = copy.deepcopy(model.state_dict())
    model.load_state_dict(raw, strict=True)  # resuming
    head = {name: value for name, value in plain.items() if name.startswith('head')}
    model.load_state_dict(head, strict=False)  # other layers alone
    assert all(torch.equal(value, raw[name]) for name, value in model.state_dict().items()
               if not name.startswith('head'))


def test_held_weights_are_what_evaluation_uses():
    model, x = fitted(), torch.randn(2, 3, 6, 6)
    saved = TinyNet().eval()
    saved.load_state_dict(fused_state_dict(model))
    with held_fused(model):
        with torch.no_grad():
            for _, layer in denoise_layers(model):
                layer.weight.mul_(2.0)
        assert torch.equal(model(x), saved(x)), 'bit for bit the checkpoint of that moment'
    changed = model(x)
    assert not torch.allclose(changed, saved(x))
    torch.testing.assert_close(changed, fuse_(copy.deepcopy(model))(x))


def test_training_follows_the_present_weights_whatever_is_held():
    layer, x = fitted().mlp, torch.randn(3, 8)
    with held_fused(layer):
        with torch.no_grad():
            layer[2].weight.zero_()
        assert torch.equal(layer.train()(x), layer[2].bias.expand(3, -1))
        assert not torch.equal(layer.eval()(x), layer[2].bias.expand(3, -1))


def test_held_weights_are_let_go_on_an_error():
    model = fitted()
    with pytest.raises(KeyError), held_fused(model):
        raise KeyError
    assert all(layer.held is None for _, layer in denoise_layers(model))


def test_paths_come_back_on_an_error():
    model = fitted()
    layers = [layer for _, layer in denoise_layers(model)]
    layers[0].train_path = 'plain'
    before = [(layer.train_path, layer.eval_path) for layer in layers]
    with pytest.raises(KeyError), explicit_path(model):
        assert {layer.eval_path for layer in layers} == {'explicit'}
        raise KeyError
    assert [(layer.train_path, layer.eval_path) for layer in layers] == before


def test_step_sizes_are_relative_changes():
    model = fitted()
    with torch.no_grad():
        model.mlp[0].weight.zero_()
    sizes = step_sizes(model)
    fused = fused_state_dict(model)
    assert sizes['mlp.0'] == 0.0
    for name in ('block.conv1', 'mlp.2'):
        weight = model.get_submodule(name).weight
        change = (fused[f'{name}.weight'] - weight).norm() / weight.norm()
        assert sizes[name] == pytest.approx(change.item(), rel=1e-4)


@pytest.mark.filterwarnings('ignore:for .*copying from a non-meta parameter')  # see elsewhere.py
@pytest.mark.parametrize('options', [{}, dict(solver='sgd', rank=4)], ids=str)
def test_a_state_on_another_device_than_the_model_stays_there(options):
    """A host brings a GPU's weights to the CPU before it saves them."""
    model, other = fitted(**options), fitted(seed=1, **options)
    state, expected = other.state_dict(), fused_state_dict(other)
    with torch.no_grad(), SecondDevice():
        moved_(model)
        with pytest.raises(RuntimeError, match='same device'):
            model.block.conv1.weight + state['block.conv1.weight']
        found = fused_state_dict(model, state)
        assert {value.device.type for value in found.values()} == {'cpu'}
        for name, value in expected.items():
            assert torch.equal(found[name], value), name
        live = fused_state_dict(model)
        assert {value.device.type for value in live.values()} == {GPU.type}
