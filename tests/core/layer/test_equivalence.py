"""Fused equals explicit denoise-then-layer, over drawn layers; and fusing does change the layer."""
import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from denoiserep_ext import explicit_path, fuse_
from denoiserep_ext.models.vss_block import Linear2d
from tests.helpers import converted, randomise_

PADDING_MODES = ('zeros', 'reflect', 'replicate', 'circular')


@st.composite
def linears(draw):
    layer = nn.Linear(draw(st.integers(1, 12)), draw(st.integers(1, 12)), bias=draw(st.booleans()))
    lead = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return layer, (*lead, layer.in_features)


@st.composite
def linear2ds(draw):
    """Linear layers on the channels of feature maps, which are not the last dimension."""
    layer = Linear2d(draw(st.integers(1, 12)), draw(st.integers(1, 12)), bias=draw(st.booleans()))
    batch = draw(st.sampled_from([(), (1, ), (3, )]))
    return layer, (*batch, layer.in_features, draw(st.integers(1, 5)), draw(st.integers(1, 5)))


@st.composite
def convs(draw):
    groups = draw(st.integers(1, 4))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    mode = draw(st.sampled_from(PADDING_MODES))
    padding = draw(st.one_of(st.sampled_from(['same', 'valid']),
                             st.tuples(st.integers(0, 3), st.integers(0, 3))))
    stride = (1, 1) if padding == 'same' else draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    layer = nn.Conv2d(groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 4)), kernel,
                      stride, padding, dilation, groups, draw(st.booleans()), mode)
    # Large enough for the dilated kernel and for reflection.
    size = [d * (k - 1) + 4 + draw(st.integers(0, 3)) for k, d in zip(kernel, dilation)]
    batch = draw(st.sampled_from([(), (1, ), (3, )]))
    return layer, (*batch, layer.in_channels, *size)


@st.composite
def cases(draw):
    layer, shape = draw(st.one_of(linears(), linear2ds(), convs()))
    options = {'steps': (draw(st.integers(1, 1000)), ),
               'update': draw(st.sampled_from(['reverse', 'posterior']))}
    if draw(st.booleans()):
        options.update(solver='sgd', rank=draw(st.integers(1, 4)))
    return layer, shape, options, draw(st.booleans()), draw(st.integers(0, 2**31))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@given(case=cases())
def test_fused_equals_explicit(dtype, case, record_error):
    layer, shape, options, channels_last, seed = case
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)
    if channels_last and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    plain = copy.deepcopy(layer).to(dtype)
    # A predictor as large as noise asks for; its scale is not what is tested.
    module = randomise_(converted(layer.to(dtype), **options), scale=0.5, seed=seed).eval()

    with explicit_path(module):
        explicit = module(x)
    on_the_fly = module(x)
    fused = copy.deepcopy(module).fuse()
    assert type(fused) is type(plain)
    tolerance = dict(rtol=1e-10, atol=1e-10) if dtype == torch.float64 else {}
    scale = explicit.abs().max().clamp_min(1)
    for result in (on_the_fly, fused(x)):
        assert_close(result / scale, explicit / scale, **tolerance)
        record_error(f'fuzz: fused against explicit, relative, {dtype}',
                     ((result - explicit).abs().max() / scale).item())


@pytest.mark.parametrize('layer', [
    nn.Linear(6, 4), nn.Linear(6, 4, bias=False), nn.Conv2d(6, 4, 3, padding=1),
    nn.Conv2d(6, 4, 3, padding=1, padding_mode='reflect'), nn.Conv2d(6, 6, 3, groups=6, bias=False),
    nn.Conv2d(6, 4, 1)
], ids=lambda layer: str(layer))
def test_fused_is_not_the_original(layer):
    """An equivalence test that a no-op would pass proves nothing."""
    x = torch.randn(2, 6, 5, 5) if isinstance(layer, nn.Conv2d) else torch.randn(2, 6)
    before = layer(x)
    fused = randomise_(converted(copy.deepcopy(layer))).eval().fuse()
    assert (fused(x) - before).abs().max() > 1e-2
    assert (fused.weight - layer.weight).abs().max() > 1e-3


def test_predictor_bias_only_where_it_commutes():
    def has_bias(layer):
        return converted(layer).denoiser.bias is not None

    assert has_bias(nn.Linear(3, 3))
    assert not has_bias(nn.Linear(3, 3, bias=False))
    assert not has_bias(nn.Conv2d(3, 3, 3, padding=1))
    assert not has_bias(nn.Conv2d(3, 3, 3, padding='same'))
    assert has_bias(nn.Conv2d(3, 3, 3))
    assert has_bias(nn.Conv2d(3, 3, 1, padding='same'))
    assert has_bias(nn.Conv2d(3, 3, 3, padding='valid'))
    for mode in PADDING_MODES[1:]:
        assert has_bias(nn.Conv2d(3, 3, 3, padding=1, padding_mode=mode))


def test_half_precision_error_is_stated_not_promised(record_error):
    """Fusing in half precision: the error against float32 is recorded and merely bounded."""
    for dtype, bound in ((torch.bfloat16, 0.1), (torch.float16, 0.02)):
        layer, x = nn.Linear(64, 64), torch.randn(32, 64)
        wide = randomise_(converted(copy.deepcopy(layer)), scale=0.05).eval()
        with explicit_path(wide):
            reference = wide(x)
        narrow = copy.deepcopy(wide).to(dtype).fuse()
        error = ((narrow(x.to(dtype)).float() - reference).abs().max() / reference.abs().max()).item()
        record_error(f'fused {dtype} against explicit float32, relative', error)
        assert error < bound


def test_autocast_does_not_round_the_fold():
    """A tiny denoising step survives half-precision autocast: the fold stays in float32."""
    module = randomise_(converted(nn.Linear(16, 16), update='reverse', steps=(1, ))).eval()
    expected, _ = copy.deepcopy(module).fused_tensors()
    with torch.autocast('cpu', torch.bfloat16):
        weight, _ = module.folded()
    assert weight.dtype == torch.float32
    assert_close(weight, expected)
    assert not torch.equal(weight, module.weight)


def test_fuse_twice_is_fuse_once():
    model = nn.Sequential(randomise_(converted(nn.Linear(4, 4))))
    once = copy.deepcopy(fuse_(model).state_dict())
    twice = fuse_(model).state_dict()
    assert all(torch.equal(once[key], twice[key]) for key in once)
