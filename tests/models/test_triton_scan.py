"""The Triton kernels against the recurrence and the chunked path.

On a GPU they run there. Elsewhere Triton's interpreter runs them on the CPU, in a program of its own:
Triton has to be told before it is imported.
"""
import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from denoiserep_ext.models import scan_kernels
from denoiserep_ext.models.selective_scan import (
    cross_merge,
    cross_scan,
    image_scan,
    selective_scan,
    stepwise_scan,
)
from denoiserep_ext.models.vss_block import SS2D
from tests.models.test_selective_scan import inputs

triton = pytest.importorskip('triton', reason='needs Triton: pip install triton')
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
# Its oldest interpreter reads wrong addresses with numpy 2; numpy 2.5 breaks the present one.
WORKS = tuple(map(int, triton.__version__.split('.')[:2])) >= (3, 4) and np.lib.NumpyVersion(
    np.__version__) < '2.5.0'
runs = pytest.mark.skipif(DEVICE == 'cpu' and not INTERPRETED,
                          reason='Triton runs on GPUs, elsewhere in its interpreter (one test for all)')
# b, K, L, D, N: less than a chunk, several, not full ones; more channels than a program reads. The
# interpreter takes a millisecond for each state: it reads small tiles of little.
SHAPES = [(1, 1, 1, 1, 1), (2, 4, 70, 5, 1), (1, 3, 33, 40, 3), (2, 2, 150, 3, 4), (1, 2, 20, 9, 16),
          (4, 4, 3136, 96, 1), (2, 2, 20, 3, 256)]
SIZES = [(1, 1), (1, 5), (4, 3), (7, 13), (56, 56)]
if DEVICE == 'cpu':
    SHAPES = [(1, 1, 1, 1, 1), (2, 4, 14, 5, 1), (1, 2, 7, 9, 3)]
    SIZES = [(1, 1), (1, 5), (4, 3)]


@pytest.fixture
def anywhere(monkeypatch):
    """Let tensors of a CPU pass for a GPU's, for the interpreter."""
    if DEVICE == 'cpu':
        monkeypatch.setattr(scan_kernels, '_fits', lambda u, states: True)
        monkeypatch.setattr('denoiserep_ext.models.triton_scan._STATES_AT_A_TIME', 16)
        monkeypatch.setattr('denoiserep_ext.models.triton_scan._STEPS', (4, 4))
        monkeypatch.setattr('denoiserep_ext.models.vss_block.walks_paths',
                            lambda x, states, backend: backend == 'triton')


def few(steps):
    return steps if DEVICE == 'cuda' else min(steps, 9)


def close_relative(ours, theirs, tolerance=1e-5):
    """Against the largest value: what is summed over steps and images is as large as the sum."""
    for a, b in zip(ours, theirs):
        assert a.shape == b.shape
        scale = b.abs().max().clamp(min=1e-3).item()
        assert_close(a.to(b.dtype) / scale, b / scale, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(DEVICE == 'cuda' or INTERPRETED, reason='the kernels themselves run here')
@pytest.mark.skipif(not WORKS, reason=f'the interpreter of triton {triton.__version__} does not work '
                                      f'with numpy {np.__version__}')
def test_in_the_interpreter():
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', __file__],
        env={**os.environ, 'TRITON_INTERPRET': '1'}, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert ' passed' in result.stdout, result.stdout


@runs
@pytest.mark.parametrize('shape', SHAPES)
def test_equals_the_chunked_path_and_the_recurrence_with_all_gradients(shape, anywhere, record_error):
    values = [x.to(DEVICE) for x in inputs(*shape, torch.float32)]
    weights = torch.randn(values[0].shape, device=DEVICE)
    results = []
    for scan, dtype in ((lambda *x: selective_scan(*x, backend='triton'), torch.float32),
                        (lambda *x: selective_scan(*x, backend='chunked'), torch.float32),
                        (stepwise_scan, torch.float64)):
        leaves = [x.detach().to(dtype).requires_grad_() for x in values]
        y = scan(*leaves)
        results.append([y.detach(), *torch.autograd.grad((y * weights).sum(), leaves)])
    close_relative(results[0], results[1])
    close_relative(results[0], results[2])
    record_error('Triton scan in float32, relative to the largest value of each output and gradient',
                 max(((a - b).abs().max() / b.abs().max().clamp(min=1e-3)).item()
                     for a, b in zip(results[0], results[2])))


@runs
@pytest.mark.parametrize('size', SIZES)
def test_walks_through_an_image_as_cross_scan_and_merge_do(size, anywhere):
    height, width = size
    u, *values = (x.to(DEVICE) for x in inputs(2, 4, height * width, 5, 2, torch.float32))
    image = u[:, 0].unflatten(1, size)

    def paths(x):  # each path's own coefficients, from the order of pixels to its own
        return torch.stack([cross_scan(x[:, k].unflatten(1, size))[:, k] for k in range(4)], dim=1)

    def laid_out(x, delta, A, B, C, D, delta_bias):
        return cross_merge(stepwise_scan(cross_scan(x), paths(delta), A, paths(B), paths(C), D,
                                         delta_bias), height, width)

    weights = torch.randn(image.shape, device=DEVICE)
    results = []
    for scan, dtype in ((image_scan, torch.float32), (laid_out, torch.float64)):
        leaves = [x.detach().to(dtype).requires_grad_() for x in (image, *values)]
        y = scan(*leaves)
        results.append([y.detach(), *torch.autograd.grad((y * weights).sum(), leaves)])
    close_relative(*results)


@runs
@pytest.mark.parametrize('states', [1, 2])
def test_a_layer_does_not_depend_on_the_path(states, anywhere):
    plain = SS2D(8, d_state=states, scan_backend='chunked').to(DEVICE)
    fused = copy.deepcopy(plain)
    fused.scan_backend = 'triton'
    x = torch.randn(2, 8, 2, few(5), device=DEVICE)
    results = []
    for layer in (fused, plain):
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        y.square().sum().backward()
        results.append([y.detach(), leaf.grad, *(p.grad for p in layer.parameters())])
    close_relative(*results)


@runs
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_scanned_in_float32(dtype, anywhere):
    values = [x.to(DEVICE) for x in inputs(2, 4, few(40), 5, 2, torch.float32)]
    mixed = [x.to(dtype) if x.ndim == 4 else x for x in values]
    ours, theirs = ([x.clone().requires_grad_() for x in mixed] for _ in range(2))
    y, expected = selective_scan(*ours, 'triton'), selective_scan(*theirs, 'chunked')
    assert y.dtype == torch.float32
    close_relative([y], [expected])
    for result in (y, expected):
        result.square().mean().backward()
    for a, b in zip(ours, theirs):
        assert a.grad.dtype == a.dtype
        # Both are rounded to the input's type.
        close_relative([a.grad], [b.grad], 1e-5 if a.dtype == torch.float32 else torch.finfo(dtype).eps)


@runs
@pytest.mark.parametrize('rate', [1e-30, 1.0, 1e4, 1e30])
def test_stays_finite_for_any_rate(rate, anywhere):
    values = [x.to(DEVICE) for x in inputs(1, 2, few(200), 2, 2, torch.float32)]
    values[1] = 20 * values[1]  # steps of up to 100
    values[2] = torch.full_like(values[2], -rate)
    leaves = [x.requires_grad_() for x in values]
    y = selective_scan(*leaves, backend='triton')
    expected = stepwise_scan(*(x.detach().double() for x in leaves))
    close_relative([y], [expected])
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(y.square().mean(), leaves))


@runs
def test_small_steps_keep_their_precision(anywhere):
    """Mamba starts at steps of 1e-3: softplus must not round to float32 around 1."""
    values = [x.to(DEVICE) for x in inputs(1, 2, few(50), 4, 1, torch.float32)]
    values[1] = values[1] - 12  # steps of about 1e-5
    values[5] = torch.zeros_like(values[5])  # nothing but what the states say
    close_relative([selective_scan(*values, backend='triton').double()],
                   [stepwise_scan(*(x.double() for x in values))])


@runs
def test_views_are_read_as_they_are(anywhere):
    values = [x.to(DEVICE) for x in inputs(1, 2, few(30), 3, 2, torch.float32)]
    strided = [x.transpose(-1, -2).contiguous().transpose(-1, -2) if x.ndim == 4 else x for x in values]
    assert not strided[0].is_contiguous()
    assert torch.equal(selective_scan(*strided, 'triton'), selective_scan(*values, 'triton'))


@pytest.mark.skipif(DEVICE == 'cpu', reason='the interpreter runs one program after the other')
def test_the_same_twice():
    """Nothing is summed in the order in which programs happen to end."""
    values = [x.to(DEVICE) for x in inputs(2, 2, 200, 40, 2, torch.float32)]
    results = []
    for _ in range(2):
        leaves = [x.clone().requires_grad_() for x in values]
        y = selective_scan(*leaves, backend='triton')
        results.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_shapes_of_an_image_are_checked():
    u, *values = inputs(2, 4, 12, 3, 2, torch.float32)
    with pytest.raises(ValueError, match=r'delta is .*it must be \[2, 4, 12, 3\]'):
        image_scan(u[:, 0].unflatten(1, (4, 3)), values[0][:, :, :-1], *values[1:])
