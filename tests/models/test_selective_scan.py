"""The selective scan against its equations, a step at a time."""
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from denoiserep_ext.models import chunked_scan
from denoiserep_ext.models.selective_scan import (
    cross_merge,
    cross_scan,
    selective_scan,
    stepwise_scan,
)

TIGHT = dict(rtol=1e-10, atol=1e-10)


def inputs(b, K, L, D, N, dtype=torch.float64, seed=0):
    """Arguments of a scan; steps from next to nothing to several units."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    return [normal(b, K, L, D), 2 * normal(b, K, L, D), -normal(K, D, N).exp(), normal(b, K, L, N),
            normal(b, K, L, N), normal(K, D), normal(K, D)]


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks of sequences, the last of them not full."""
    monkeypatch.setitem(chunked_scan._BUDGET, 'cpu', 1)
    return monkeypatch


@pytest.mark.parametrize('budget', [1, 600, 2**22])
@given(b=st.integers(1, 3), K=st.integers(1, 4), L=st.integers(1, 70), D=st.integers(1, 5),
       N=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_equals_the_recurrence_with_all_gradients(budget, b, K, L, D, N, seed):
    before = chunked_scan._BUDGET['cpu']
    chunked_scan._BUDGET['cpu'] = budget
    try:
        arguments = [x.requires_grad_() for x in inputs(b, K, L, D, N, seed=seed)]
        ours, theirs = selective_scan(*arguments), stepwise_scan(*arguments)
        assert_close(ours, theirs, **TIGHT)
        weights = torch.randn(ours.shape, dtype=ours.dtype)
        assert_close(torch.autograd.grad((ours * weights).sum(), arguments),
                     torch.autograd.grad((theirs * weights).sum(), arguments), **TIGHT)
    finally:
        chunked_scan._BUDGET['cpu'] = before


@pytest.mark.parametrize('L, N', [(1, 1), (6, 2), (7, 1), (12, 3), (13, 2)])
def test_gradients_are_those_of_finite_differences(L, N, small_blocks):
    arguments = [x.requires_grad_() for x in inputs(2, 2, L, 2, N)]
    assert torch.autograd.gradcheck(selective_scan, arguments)


def test_float32_at_the_length_of_an_image(record_error):
    """56 x 56 tokens."""
    arguments = inputs(1, 4, 3136, 16, 1)
    exact = stepwise_scan(*arguments)
    single = selective_scan(*(x.float() for x in arguments))
    assert single.dtype == torch.float32
    error = ((single - exact).abs().max() / exact.abs().max()).item()
    record_error('selective scan of 3136 steps in float32, relative to the largest output', error)
    assert error < 1e-5


@pytest.mark.parametrize('rate', [1e-30, 1.0, 1e4, 1e30])
def test_stays_finite_for_any_rate_and_length(rate):
    arguments = inputs(1, 2, 20_000, 2, 2, torch.float32)
    arguments[1] = 20 * arguments[1]  # steps of up to 100
    arguments[2] = torch.full_like(arguments[2], -rate)
    arguments = [x.requires_grad_() for x in arguments]
    y = selective_scan(*arguments)
    gradients = torch.autograd.grad(y.square().mean(), arguments)
    assert all(torch.isfinite(x).all() for x in (y, *gradients))
    if rate >= 1e4:  # nothing is remembered but where a step is as good as zero
        exact = stepwise_scan(*(x.double() for x in arguments))
        assert_close(y.double(), exact, rtol=1e-4, atol=1e-3)


def test_half_precision_and_autocast_scan_in_float32():
    arguments = [x.bfloat16() for x in inputs(1, 4, 60, 4, 2)]
    wide = selective_scan(*(x.float() for x in arguments))
    assert wide.dtype == torch.float32
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(selective_scan(*arguments), wide)
    mixed = [arguments[0], *(x.float() for x in arguments[1:])]
    mixed[1].requires_grad_()
    mixed[0].requires_grad_()
    y = selective_scan(*mixed)
    assert torch.equal(y, wide)
    y.sum().backward()
    assert mixed[0].grad.dtype == torch.bfloat16 and mixed[1].grad.dtype == torch.float32


def test_states_are_not_kept_for_the_backward_pass():
    """With 16 states each they would be 16 times the input."""
    arguments = [x.requires_grad_() for x in inputs(2, 4, 400, 8, 16, torch.float32)]
    saved = 0

    def pack(x):
        nonlocal saved
        saved += x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        selective_scan(*arguments)
    states_at_chunks = 2 * 4 * 20 * 8 * 16
    assert saved <= sum(x.numel() for x in arguments) + states_at_chunks


def test_views_are_read_as_they_are():
    arguments = inputs(2, 4, 30, 3, 2)
    strided = [x.transpose(-1, -2).contiguous().transpose(-1, -2) if x.ndim == 4 else x
               for x in arguments]
    assert not strided[0].is_contiguous()
    assert_close(selective_scan(*strided), stepwise_scan(*arguments), **TIGHT)


def test_compiles_around_the_scan():
    arguments = inputs(1, 4, 30, 3, 2)
    compiled = torch.compile(lambda *x: 2 * selective_scan(*x), backend='eager')
    assert_close(compiled(*arguments), 2 * stepwise_scan(*arguments), **TIGHT)


@pytest.mark.parametrize('index, name', list(enumerate(
    ['u', 'delta', 'A', 'B', 'C', 'D', 'delta_bias']))[1:])
def test_shapes_that_do_not_belong_together_are_named(index, name):
    arguments = inputs(2, 4, 6, 3, 2)
    arguments[index] = arguments[index][..., :-1]
    # A sets the number of states: then it is B that does not fit.
    with pytest.raises(ValueError, match=f"{'B' if name == 'A' else name} is .*it must be"):
        selective_scan(*arguments)


def test_nothing_to_scan_is_an_error():
    with pytest.raises(ValueError, match='nothing but b of size 0'):
        selective_scan(*inputs(1, 4, 0, 3, 2))


@pytest.mark.parametrize('backend', [None, 'chunked', 'oflex'])
def test_no_images_scan_to_nothing(backend):
    assert selective_scan(*inputs(0, 4, 7, 3, 2), backend).shape == (0, 4, 7, 3)


@pytest.mark.parametrize('size', [(1, 1), (1, 5), (4, 3), (3, 7)])
def test_cross_scan_reads_rows_and_columns_both_ways(size):
    height, width = size
    x = torch.randn(2, height, width, 3)
    rows = [(i, j) for i in range(height) for j in range(width)]
    columns = [(i, j) for j in range(width) for i in range(height)]
    paths = cross_scan(x)
    for path, order in enumerate((rows, columns, rows[::-1], columns[::-1])):
        for step, (i, j) in enumerate(order):
            assert torch.equal(paths[:, path, step], x[:, i, j])


def test_cross_merge_is_the_transpose_of_cross_scan():
    x = torch.randn(2, 4, 7, 3, dtype=torch.float64)
    y = torch.randn(2, 4, 28, 3, dtype=torch.float64)
    assert_close((cross_scan(x) * y).sum(), (x * cross_merge(y, 4, 7)).sum(), **TIGHT)
    assert_close(cross_merge(cross_scan(x), 4, 7), 4 * x)


def test_what_the_benchmark_times_is_the_same_function():
    from benchmarks import scan
    values = inputs(2, 4, 12, 3, 2)
    for name, variant in scan.VARIANTS.items():
        if name == 'triton':  # float32 on a GPU: has tests of its own
            continue
        assert_close(variant(*values), stepwise_scan(*values), **TIGHT)
    assert len(scan.training('chunked', 1, 16)()) == 7
    assert scan.forward('loop, unbound', 1, 16)().shape == (1, 4, 16, 96)
