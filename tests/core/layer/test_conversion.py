import copy
import math
import pickle

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrizations

from denoiserep_ext import DenoiseRepConfig, convert_, fuse_, fused_state_dict, unconvert_
from denoiserep_ext.core.layer.layer_types import LINEAR, _registered, register_layer_type
from denoiserep_ext.core.layer.layers import DenoiseLayer, denoise_layers
from denoiserep_ext.core.layer.predictor import NoisePredictor
from denoiserep_ext.models.vss_block import Linear2d
from tests.helpers import TinyNet, randomise_


def reasons(report):
    return {layer.name: layer.reason for layer in report}


def test_auto_takes_mlp_and_residual_convs():
    report = convert_(TinyNet())
    assert [layer.name for layer in report.converted] == [
        'block.conv1', 'block.conv2', 'mlp.0', 'mlp.2']
    assert [layer.step for layer in report.converted] == [4, 3, 2, 1]
    assert reasons(report)['head'] == 'classifier head'
    assert reasons(report)['stem'] == 'not selected'
    table = str(report)
    assert 'block.conv2  Conv2d  8x4x3x3  2       3     yes' in table
    assert '4 of 6 layers converted' in table


def test_with_a_strength_the_table_shows_it_instead_of_steps():
    table = str(convert_(TinyNet(), DenoiseRepConfig(strength=0.002)))
    assert 'strength' in table and 'step' not in table
    assert 'block.conv2  Conv2d  8x4x3x3  2       0.002     yes' in table
    assert 'stem         Conv2d  8x3x3x3  1       -         no: not selected' in table


@pytest.mark.parametrize('build, count', [
    (torchvision.models.vit_b_16, 24), (torchvision.models.swin_t, 24),
    (torchvision.models.swin_v2_t, 24), (torchvision.models.resnet50, 52),
    (torchvision.models.resnet18, 19), (torchvision.models.convnext_tiny, 36)])
def test_auto_counts_layers_of_torchvision_models(build, count):
    with torch.device('meta'):
        model = build()
    names = [n for n, why in __import__('denoiserep_ext.core.layer.selection', fromlist=['x']).select(
        model, 'auto').items() if why is None]
    assert len(names) == count
    assert not any('head' in n or 'cpb' in n or 'attn' in n for n in names)


def test_converted_model_computes_what_it_did():
    model, x = TinyNet().eval(), torch.randn(2, 3, 6, 6)
    before = model(x)
    convert_(model)
    assert torch.equal(model(x), before)


def test_parameters_keep_identity_and_types_come_back():
    model = TinyNet()
    before = {name: id(p) for name, p in model.named_parameters()}
    types = {name: type(m) for name, m in model.named_modules()}
    convert_(model, DenoiseRepConfig(solver='sgd'))
    assert {n: id(p) for n, p in model.named_parameters() if 'denoiser' not in n} == before
    randomise_(model)
    fuse_(model)
    assert {name: id(p) for name, p in model.named_parameters()} == before
    assert {name: type(m) for name, m in model.named_modules()} == types
    leftovers = [name for m in model.modules() for name in vars(m) if name in
                 ('denoise_config', 'observers', 'held', 'step', 'coefficients')]
    assert not leftovers
    assert not model._forward_pre_hooks


def test_state_dicts_are_plain_and_load_strictly_both_ways():
    stock, model = TinyNet(), TinyNet()
    convert_(model)
    model.load_state_dict(stock.state_dict(), strict=True)
    randomise_(model)
    fused = fused_state_dict(model)
    assert {k: v.shape for k, v in fused.items()} == {
        k: v.shape for k, v in stock.state_dict().items()}
    stock.load_state_dict(fused, strict=True)
    assert any(isinstance(m, DenoiseLayer) for m in model.modules()), 'the live model is untouched'
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(stock.eval()(x), model.eval()(x))
    twin = TinyNet()
    convert_(twin)
    twin.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(twin.eval()(x), model(x))


def test_missing_weight_is_still_reported():
    model = TinyNet()
    convert_(model)
    state = TinyNet().state_dict()
    del state['mlp.0.weight']
    with pytest.raises(RuntimeError, match='mlp.0.weight'):
        model.load_state_dict(state, strict=True)


@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_deepcopy_and_pickle(solver):
    model, x = TinyNet().eval(), torch.randn(2, 3, 6, 6)
    convert_(model, DenoiseRepConfig(solver=solver))
    randomise_(model, 0.1)
    expected = model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), expected)
        fuse_(twin)
        torch.testing.assert_close(twin(x), expected)
    assert torch.equal(model(x), expected)


def test_unconvert_gives_the_trained_weights_back():
    model = TinyNet()
    before = copy.deepcopy(model.state_dict())
    convert_(model, DenoiseRepConfig(solver='sgd'))
    unconvert_(randomise_(model))
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_example_inputs_give_the_order_of_calls():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.last(self.first(x))

    model = Backwards()
    report = convert_(model, DenoiseRepConfig(layers='all'), example_inputs=torch.randn(2, 4))
    assert {layer.name: layer.step for layer in report} == {'last': 1, 'first': 2}
    assert model.training
    unused = Backwards()
    unused.extra = nn.Linear(4, 4)
    with pytest.raises(ValueError, match='never called extra'):
        convert_(unused, DenoiseRepConfig(layers='all'), example_inputs=torch.randn(2, 4))
    assert not list(denoise_layers(unused))


def test_a_forward_that_fails_leaves_no_trace():
    class Failing(TinyNet):
        def forward(self, x):
            super().forward(x)
            raise KeyError('no such key')

    model = Failing().train()
    model.block.bn1.eval()  # the host froze it
    modes = [module.training for module in model.modules()]
    with pytest.raises(KeyError):
        convert_(model, example_inputs=torch.randn(2, 3, 6, 6))
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not list(denoise_layers(model))


def test_running_out_of_memory_leaves_the_model_as_it_was(monkeypatch):
    built = []

    class Large(NoisePredictor):
        def __init__(self, *args, **options):
            if len(built) == 2:
                raise MemoryError
            super().__init__(*args, **options)
            built.append(self)

    monkeypatch.setattr('denoiserep_ext.core.layer.attaching.NoisePredictor', Large)
    model, x = TinyNet().eval(), torch.randn(2, 3, 6, 6)
    before, types = model(x), [type(module) for module in model.modules()]
    with pytest.raises(MemoryError):
        convert_(model, DenoiseRepConfig(solver='sgd'))
    assert [type(module) for module in model.modules()] == types
    assert torch.equal(model(x), before)
    monkeypatch.undo()
    assert len(convert_(model).converted) == 4


def test_models_on_meta_are_refused_in_words():
    with torch.device('meta'):
        model = TinyNet()
    with pytest.raises(ValueError, match=r'block\.conv1: its weight is on the meta device .*to_empty'):
        convert_(model)
    assert not list(denoise_layers(model))


@pytest.mark.parametrize('layer, name', [(nn.Linear, 'input'), (nn.Conv2d, 'input'), (Linear2d, 'x')])
def test_inputs_are_taken_by_the_name_they_have(layer, name):
    layer, x = layer(4, 4, 1), torch.randn(2, 4, 4, 4)
    expected = layer(**{name: x})
    convert_(layer, DenoiseRepConfig(layers='all', steps=[500]))
    assert torch.equal(layer(**{name: x}), expected)
    randomise_(layer, 0.1)
    assert torch.equal(layer(**{name: x}), layer(x))
    for wrong in (lambda: layer(features=x), lambda: layer(), lambda: layer(x, x),
                  lambda: layer(x, **{name: x})):
        with pytest.raises(TypeError, match=rf'takes its input and nothing else: .*layer\({name}=x\)'):
            wrong()


def test_a_layer_is_converted_on_its_own():
    layer, x = nn.Linear(4, 4), torch.randn(3, 4)
    convert_(layer, DenoiseRepConfig(layers='all', steps=[500]))
    expected = randomise_(layer, 0.1).eval()(x)
    state = fused_state_dict(layer)
    layer.denoiser.weight[0, 0, 0] = math.nan
    with pytest.raises(FloatingPointError, match='^Linear: non-finite'):
        fuse_(layer)
    plain = unconvert_(layer)
    assert type(plain) is nn.Linear
    plain.load_state_dict(state, strict=True)
    torch.testing.assert_close(plain(x), expected)


def test_selection_by_regex_and_suffix():
    report = convert_(TinyNet(), DenoiseRepConfig(layers=r'(mlp\.\d|head)'))
    assert [layer.name for layer in report.converted] == ['mlp.0', 'mlp.2', 'head']
    report = convert_(TinyNet(), DenoiseRepConfig(layers=['conv1', 'stem']))
    assert [layer.name for layer in report.converted] == ['stem', 'block.conv1']


def test_all_leaves_heads_and_position_networks():
    with torch.device('meta'):
        model = torchvision.models.swin_v2_t()
    from denoiserep_ext.core.layer.selection import select
    choice = select(model, 'all')
    assert choice['head'] == 'classifier head'
    assert choice['features.1.0.attn.cpb_mlp.0'].startswith('position network')
    assert choice['features.1.0.attn.qkv'] is None


@pytest.mark.parametrize('layers, message', [
    ('nothing_like_this', 'Nothing to convert.*regular expression'),
    (['typo'], "no Linear or Conv2d has the name .*'typo'"),
    ('(', 'is not a regular expression'),
])
def test_selecting_nothing_is_an_error(layers, message):
    with pytest.raises(ValueError, match=message):
        convert_(TinyNet(), DenoiseRepConfig(layers=layers))


def test_models_without_embedding_layers_are_refused():
    with pytest.raises(ValueError, match='no Linear or Conv2d'):
        convert_(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match='Nothing to convert'):
        convert_(nn.Sequential(nn.Linear(3, 3)))


def test_converting_twice_is_refused():
    model = TinyNet()
    convert_(model)
    with pytest.raises(ValueError, match='converted already'):
        convert_(model)


class Masked(nn.Linear):
    def forward(self, x):
        return super().forward(x * 2)


def impossible_models():
    tied = nn.ModuleDict({'a': nn.Linear(3, 3), 'b': nn.Linear(3, 3), 'c': nn.Linear(3, 3)})
    tied['b'].weight = tied['a'].weight
    yield 'tied', tied, 'a', 'tied'
    normed = nn.ModuleDict({'a': parametrizations.weight_norm(nn.Linear(3, 3)), 'c': nn.Linear(3, 3)})
    yield 'parametrised', normed, 'a', 'parametrised'
    old_style = nn.ModuleDict({'a': nn.utils.spectral_norm(nn.Linear(3, 3)), 'c': nn.Linear(3, 3)})
    yield 'old spectral norm', old_style, 'a', 'tied|parametrised'
    own = nn.ModuleDict({'a': Masked(3, 3), 'c': nn.Linear(3, 3)})
    yield 'own forward', own, 'a', 'forward of its own'
    attention = nn.ModuleDict({'a': nn.MultiheadAttention(4, 2), 'c': nn.Linear(3, 3)})
    yield 'attention', attention, 'a.out_proj', 'never calls it'
    encoder = nn.ModuleDict({'a': nn.TransformerEncoderLayer(4, 2), 'c': nn.Linear(3, 3)})
    yield 'fast path', encoder, 'a.linear1', 'fast path'
    lazy = nn.ModuleDict({'a': nn.LazyLinear(3), 'c': nn.Linear(3, 3)})
    yield 'lazy', lazy, 'a', 'not initialised'
    storage = nn.ModuleDict({'a': nn.Linear(3, 3), 'b': nn.Linear(3, 3), 'c': nn.Linear(3, 3)})
    storage['b'].weight = nn.Parameter(storage['a'].weight.detach())
    yield 'shared storage', storage, 'a', 'weight is tied'
    part = nn.ModuleDict({'a': nn.Linear(3, 2), 'b': nn.Linear(3, 3), 'c': nn.Linear(3, 3)})
    part['a'].weight = nn.Parameter(part['b'].weight.detach()[1:])
    yield 'part of a storage', part, 'a', 'weight is tied'
    bias = nn.ModuleDict({'a': nn.Linear(3, 3), 'b': nn.LayerNorm(3), 'c': nn.Linear(3, 3)})
    bias['a'].bias = bias['b'].bias
    yield 'shared bias', bias, 'a', 'bias is shared'
    expanded = nn.ModuleDict({'a': nn.Linear(3, 3), 'c': nn.Linear(3, 3)})
    expanded['a'].weight = nn.Parameter(torch.ones(1, 3).expand(3, 3))
    yield 'expanded', expanded, 'a', 'weight is tied'
    half = nn.ModuleDict({'a': nn.Linear(3, 3), 'c': nn.Linear(3, 3)})
    half['a'].weight = nn.Parameter(torch.ones(3, 3, dtype=torch.int8), requires_grad=False)
    yield 'quantised', half, 'a', 'not a floating type'


@pytest.mark.parametrize('model, name, reason',
                         [pytest.param(*case[1:], id=case[0]) for case in impossible_models()])
def test_impossible_layers_are_skipped_by_name_and_refused_when_asked_for(model, name, reason):
    with pytest.raises(ValueError, match=rf'cannot be converted: {name} \(.*({reason})'):
        convert_(model, DenoiseRepConfig(layers=name))
    report = convert_(model, DenoiseRepConfig(layers='all'))
    assert [layer.name for layer in report.converted][-1:] == ['c']
    skipped = {layer.name: layer.reason for layer in report.skipped}
    assert __import__('re').search(reason, skipped[name])


def test_views_side_by_side_in_one_buffer_are_no_obstacle():
    """Flattened parameters, as some optimisers want them."""
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 4)), torch.randn(2, 4)
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    start = 0
    for parameter in model.parameters():
        parameter.data = flat[start:start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    convert_(model, DenoiseRepConfig(layers='all', steps=[500, 400]))
    randomise_(model, 0.1).eval()
    expected = model(x)
    torch.testing.assert_close(fuse_(model)(x), expected)


def test_dynamically_quantised_models_are_refused():
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 3)), {nn.Linear})
    with pytest.raises(ValueError, match='no Linear or Conv2d'):
        convert_(model, DenoiseRepConfig(layers='all'))


def test_registered_wrappers_are_converted():
    class Wrapper(nn.Linear):
        def forward(self, x):
            return super().forward(x)

    register_layer_type(Wrapper, LINEAR)
    try:
        model = nn.Sequential(Wrapper(3, 3))
        convert_(model, DenoiseRepConfig(layers='all'))
        assert type(fuse_(randomise_(model))[0]) is Wrapper
    finally:
        del _registered[Wrapper]


def test_non_finite_weights_are_refused_before_anything_changes():
    model = TinyNet()
    model.mlp[2].weight.data[0, 0] = math.nan
    with pytest.raises(FloatingPointError, match=r'mlp\.2.*non-finite'):
        convert_(model)
    assert not list(denoise_layers(model))


def test_non_finite_predictors_are_not_fused():
    model = TinyNet()
    convert_(model)
    randomise_(model)
    model.mlp[2].denoiser.weight[0, 0, 0] = math.inf
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(FloatingPointError, match=r'mlp\.2'):
        fuse_(model)
    with pytest.raises(FloatingPointError, match=r'mlp\.2'):
        fused_state_dict(model)
    assert len(list(denoise_layers(model))) == 4
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_fused_state_dict_needs_a_converted_model():
    with pytest.raises(ValueError, match='call convert_'):
        fused_state_dict(TinyNet())


def test_timm_reparameterize_fuses():
    timm = pytest.importorskip('timm')
    model = timm.create_model('vit_tiny_patch16_224', depth=2, num_classes=3).eval()
    convert_(model)
    randomise_(model, 0.1)
    x = torch.randn(1, 3, 224, 224)
    plain = timm.utils.reparameterize_model(model)
    assert not list(denoise_layers(plain))
    torch.testing.assert_close(plain(x), model(x))


def test_compiled_model_agrees():
    model = TinyNet().eval()
    convert_(model)
    randomise_(model, 0.1)
    x = torch.randn(2, 3, 6, 6)
    expected = model(x)
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend='eager')(x), expected)


class SharedBranches(nn.Module):
    """A conv that runs on every level and stands in the state dict once for each."""

    def __init__(self):
        super().__init__()
        shared = nn.Conv2d(3, 3, 1)
        self.branches = nn.ModuleList([nn.Sequential(shared, nn.BatchNorm2d(3)) for _ in range(3)])
        self.out_cls = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return sum(self.out_cls(branch(x)) for branch in self.branches)


def test_modules_with_several_names_are_fused_under_each():
    model = SharedBranches().eval()
    plain = copy.deepcopy(model)
    report = convert_(model, DenoiseRepConfig(layers='all', update='posterior', step_stride=50))
    assert [layer.name for layer in report.converted] == ['branches.0.0']
    assert reasons(report)['out_cls'] == 'last layer of a detection or segmentation head'
    randomise_(model)
    state = fused_state_dict(model)
    assert state.keys() == plain.state_dict().keys()
    x = torch.randn(2, 3, 4, 4)
    plain.load_state_dict(state, strict=True)
    torch.testing.assert_close(plain(x), model(x))
    fuse_(model)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


def test_selection_part_by_part():
    def names(layers):
        return [layer.name for layer in convert_(TinyNet(), DenoiseRepConfig(layers=layers)).converted]

    assert names({'block': 'auto'}) == ['block.conv1', 'block.conv2']
    assert names({'mlp': ['2'], 'block': r'conv1'}) == ['block.conv1', 'mlp.2']
    assert names({'': r'stem', 'mlp': 'all'}) == ['stem', 'mlp.0', 'mlp.2']
    assert names({'': 'auto', 'block': 'conv1'}) == names('auto'), 'parts may overlap'
    report = convert_(TinyNet(), DenoiseRepConfig(layers={'mlp': 'all'}))
    assert reasons(report)['block.conv1'] == 'not selected'
    assert [layer.step for layer in report.converted] == [2, 1]


@pytest.mark.parametrize('layers, error, message', [
    ({'trunk': 'auto'}, ValueError, "has no part 'trunk' to convert: choose one of stem, block"),
    ({'mlp': 'no_such'}, ValueError, 'Nothing to convert'),
    ({}, TypeError, 'layers must be a string, a sequence of strings, or a mapping'),
    ({'mlp': {'0': 'all'}}, TypeError, 'layers must be'),
    ({'mlp': 3}, TypeError, 'layers must be'),
])
def test_parts_that_cannot_be_selected_are_named(layers, error, message):
    model = TinyNet()
    with pytest.raises(error, match=message):
        convert_(model, DenoiseRepConfig(layers=layers))
    assert not list(denoise_layers(model))
