"""Convs that pad by the size of their input: exact, though the padding is not an attribute."""
import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from denoiserep_ext import explicit_path
from denoiserep_ext.core.pairs.positions import Positions
from tests.helpers import converted, randomise_

timm = pytest.importorskip('timm')


@st.composite
def settings(draw):
    """Arguments of a conv, and the size of its input."""
    groups = draw(st.integers(1, 3))
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    return dict(in_channels=2 * groups, out_channels=3 * groups, kernel_size=draw(pair),
                stride=draw(pair), dilation=draw(pair), groups=groups, bias=draw(st.booleans())), (
                    draw(st.integers(1, 12)), draw(st.integers(1, 12)))


def check_fused_equals_explicit(cls: type, arguments: dict, size: tuple[int, int]) -> None:
    """Convert a conv of this class with a random predictor; the type and the results must agree."""
    stock = cls(**arguments).double()
    x = torch.randn(2, arguments['in_channels'], *size, dtype=torch.float64)
    layer = converted(copy.deepcopy(stock)).eval()
    assert_close(layer(x), stock(x), rtol=1e-12, atol=1e-12)
    randomise_(layer, scale=0.5)
    with explicit_path(layer):
        explicit = layer(x)
    on_the_fly = layer(x)
    fused = layer.fuse()
    assert type(fused) is cls
    for result in (on_the_fly, fused(x)):
        assert_close(result, explicit, rtol=1e-10, atol=1e-10)
    assert (fused.weight - stock.weight).abs().max() > 1e-3  # a no-op would pass what stands above


@given(case=settings())
def test_fused_equals_explicit(case):
    check_fused_equals_explicit(timm.layers.Conv2dSame, *case)


def test_predictor_has_a_bias_only_where_nothing_is_padded():
    assert converted(timm.layers.Conv2dSame(4, 4, 1, stride=2)).denoiser.bias is not None
    assert converted(timm.layers.Conv2dSame(4, 4, 3)).denoiser.bias is None
    assert converted(timm.layers.Conv2dSame(4, 4, 2, stride=2)).denoiser.bias is None


@given(case=settings())
def test_patches_are_what_the_layer_reads(case):
    arguments, size = case
    layer = timm.layers.Conv2dSame(**arguments).double()
    x = torch.randn(2, arguments['in_channels'], *size, dtype=torch.float64)
    positions, y = Positions(layer), layer(x)
    rows = torch.arange(positions.count(y))
    patches = positions.reads(x, y, rows)
    groups, inputs, outputs = positions.sizes
    weight = layer.weight.reshape(groups, outputs, inputs)
    given_back = torch.einsum('ngd,god->ngo', patches, weight).flatten(1)
    if layer.bias is not None:
        given_back = given_back + layer.bias
    assert_close(given_back, positions.vectors(y, rows), rtol=1e-10, atol=1e-10)
