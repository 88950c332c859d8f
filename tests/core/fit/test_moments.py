"""First and second moments of features."""
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from denoiserep_ext.core.fit import moments as module
from denoiserep_ext.core.fit.moments import Moments
from tests.helpers import moments_of

ROOT = Path(__file__).parents[3]


def test_moments_equal_numpy():
    x = torch.randn(50, 1, 5, dtype=torch.float64) * torch.arange(1., 6) + 100
    moments = Moments(1, 5)
    for block in x.split(7):
        moments.update(block)
    flat = x[:, 0].numpy()
    np.testing.assert_allclose(moments.mean[0], flat.mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance[0], np.cov(flat.T, bias=True), rtol=1e-10)
    np.testing.assert_allclose(moments.second_moment(False)[0], flat.T @ flat / 50, rtol=1e-13)


def test_power_is_the_mean_diagonal():
    moments = moments_of(torch.randn(30, 2, 3) + 2)
    for centred in (True, False):
        expected = moments.second_moment(centred).diagonal(dim1=-2, dim2=-1).mean(-1)
        torch.testing.assert_close(moments.power(centred), expected)


def test_moments_merge_and_survive_a_round_trip():
    x = torch.randn(40, 2, 3, dtype=torch.float64) + 5
    parts = [moments_of(part) for part in (x[:13], x[13:])]
    merged = parts[0].merge_(parts[1])
    copied = Moments(2, 3)
    copied.load_state_dict(merged.state_dict())
    torch.testing.assert_close(copied.covariance, moments_of(x).covariance, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match='do not fit'):
        Moments(1, 3).load_state_dict(merged.state_dict())


def test_large_means_and_half_inputs_lose_no_digits():
    x = torch.randn(4000, 1, 3, dtype=torch.float64)
    far = moments_of((x + 1e4).float(), dtype=torch.float32)
    torch.testing.assert_close(far.covariance, moments_of(x).covariance, rtol=2e-3, atol=2e-3)
    huge = moments_of(torch.full((8, 1, 2), 60000., dtype=torch.float16))
    assert torch.isfinite(huge.covariance).all()
    assert huge.mean[0, 0].item() == 60000 - 60000 % 32


def test_the_scale_is_the_spread_about_the_mean():
    far = moments_of(4 * torch.randn(500, 1, 3) + 1e4)
    assert 2 < far.scale.item() < 8 and math.log2(far.scale.item()).is_integer()


def test_moments_that_fade_weigh_the_past_and_nothing_else():
    """Decayed by a fifth twice, three blocks count 0.04, 0.2 and 1 as numpy's weights do."""
    blocks = [torch.randn(30, 1, 4, dtype=torch.float64) * (k + 1) + k for k in range(3)]
    moments = Moments(1, 4)
    for block in blocks:
        moments.decay_(0.2).update(block)
    x, weights = torch.cat(blocks)[:, 0].numpy(), np.repeat([0.04, 0.2, 1.0], 30)
    assert moments.count == pytest.approx(weights.sum())
    np.testing.assert_allclose(moments.mean[0], np.average(x, 0, weights), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance[0], np.cov(x.T, ddof=0, aweights=weights), rtol=1e-10)


def test_moments_that_are_reset_are_as_new():
    x = torch.randn(30, 2, 4, dtype=torch.float64) + 5
    moments = moments_of(1000 * x - 3).reset_()
    assert moments.count == 0
    moments.update(x)
    torch.testing.assert_close(moments.covariance, moments_of(x).covariance, rtol=1e-12, atol=1e-12)


def test_products_are_no_coarser_than_float32():
    """Where TF32 or bfloat16 is allowed for products, moments take float64."""
    x, before = torch.randn(300, 1, 8), torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision('high')
        allowed = moments_of(x, dtype=torch.float32)
    finally:
        torch.set_float32_matmul_precision(before)
    narrow, wide = (moments_of(x, dtype=dtype) for dtype in (torch.float32, torch.float64))
    assert not torch.equal(narrow.covariance, allowed.covariance)
    torch.testing.assert_close(allowed.covariance, wide.covariance, rtol=1e-12, atol=1e-12)


def test_nothing_is_no_feature_vector():
    """An empty batch, or an empty probe, leaves moments as they were."""
    x, nothing = torch.randn(9, 1, 3), torch.empty(0, 1, 3)
    moments = Moments(1, 3).centre_(nothing)
    moments.update(nothing)
    assert moments.reference is None and moments.count == 0
    moments.update(x)
    moments.centre_(nothing)
    moments.update(nothing)
    assert torch.equal(moments.covariance, moments_of(x).covariance)


@given(st.integers(1, 3), st.integers(1, 12), st.integers(1, 5), st.integers(1, 30))
def test_panels_of_any_size_hold_the_whole_covariance(groups, channels, panel, images):
    """Against numpy, block by block, over drawn shapes."""
    before, module.PANEL = module.PANEL, panel
    try:
        x = torch.randn(images, groups, channels, dtype=torch.float64) * 3 + 7
        moments = Moments(groups, channels)
        for block in x.split(4):
            moments.update(block)
        covariance, power = moments.covariance, moments.power(True)
        assert moments.numel == moments.total.numel() + sum(p.numel() for p in moments.panels)
    finally:
        module.PANEL = before
    for group in range(groups):
        flat = x[:, group].numpy()
        expected = np.cov(flat.T, bias=True).reshape(channels, channels)
        np.testing.assert_allclose(covariance[group], expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(power[group], expected.diagonal().mean(), rtol=1e-9, atol=1e-12)
    assert torch.equal(covariance, covariance.mT)


@pytest.mark.parametrize('factor', [1e-30, 1e-10, 1.0, 1e10, 1e30])
def test_huge_and_tiny_features_neither_overflow_nor_vanish(factor):
    """Squares of 1e30 and 1e-30 have no place in float32."""
    x = torch.randn(500, 1, 4) * torch.tensor([1., 2, 3, 4]) + 5
    expected = moments_of(x.double())
    moments = Moments(1, 4, dtype=torch.float32)
    for block in (x * factor).split(50):
        moments.update(block)
    scaled = moments.covariance / factor**2
    torch.testing.assert_close(scaled, expected.covariance, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moments.mean / factor, expected.mean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_features_are_taken_as_they_are(dtype):
    x = (1000 * torch.randn(300, 1, 3) + 20000).to(dtype)
    moments = moments_of(x, dtype=torch.float32)
    expected = moments_of(x.double()).covariance
    torch.testing.assert_close(moments.covariance, expected, rtol=1e-5, atol=1.0)


def test_merging_is_adding_whatever_centre_and_scale():
    x = torch.randn(60, 2, 5, dtype=torch.float64)
    x[30:] = 1000 * x[30:] + 1e5
    expected = moments_of(x)
    merged = moments_of(x[:30]).merge_(moments_of(x[30:]))
    torch.testing.assert_close(merged.covariance, expected.covariance, rtol=1e-12, atol=1e-6)
    empty = Moments(2, 5).merge_(merged)
    assert torch.equal(empty.covariance, merged.covariance)
    assert torch.equal(merged.merge_(Moments(2, 5)).covariance, empty.covariance)
    with pytest.raises(ValueError, match='do not fit'):
        merged.merge_(Moments(2, 4))


def test_a_common_centre_makes_parts_add_up_to_the_whole_bit_by_bit():
    """In float32, too: products of the same vectors about the same centre are the same."""
    x = torch.randn(64, 1, 40) + 3
    blocks = x.split(8)
    parts = [Moments(1, 40, dtype=torch.float32).centre_(blocks[0]) for _ in range(2)]
    whole = Moments(1, 40, dtype=torch.float32)
    for index, block in enumerate(blocks):
        whole.update(block)
        parts[index % 2].update(block)
    merged = parts[0].merge_(parts[1])
    torch.testing.assert_close(merged.covariance, whole.covariance, rtol=1e-14, atol=1e-14)


def test_sums_over_processes(tmp_path):
    """Two gloo processes with parts of very different means, and one with nothing at all."""
    script = f'''
import torch, torch.distributed as dist
from denoiserep_ext.core.fit.moments import Moments
from denoiserep_ext.core.processes import leave_processes
dist.init_process_group('gloo')
rank = dist.get_rank()
x = torch.arange(60., dtype=torch.float64).reshape(20, 1, 3).sin()
x[10:] += 1e4
mine = Moments(1, 3)
mine.update(x[:10] if rank == 0 else x[10:])
lone = Moments(1, 3)
if rank == 0:
    lone.update(x)
torch.save([mine.reduced().state_dict(), lone.reduced().state_dict()], r'{tmp_path}/' + str(rank))
leave_processes()
'''
    (tmp_path / 'script.py').write_text(script)
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         str(tmp_path / 'script.py')], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert result.returncode == 0, result.stderr[-3000:]
    x = torch.arange(60., dtype=torch.float64).reshape(20, 1, 3).sin()
    x[10:] += 1e4
    expected, parts = moments_of(x), moments_of(x[:10]).merge_(moments_of(x[10:]))
    for rank in (0, 1):
        for state, whole in zip(torch.load(tmp_path / str(rank), weights_only=True), (parts, expected)):
            moments = Moments(1, 3)
            moments.load_state_dict(state)
            assert moments.count == 20
            torch.testing.assert_close(moments.rounding, whole.rounding, rtol=1e-12, atol=0)
            torch.testing.assert_close(moments.covariance, expected.covariance, rtol=1e-12, atol=1e-12)


def test_nothing_seen_is_an_error():
    with pytest.raises(ValueError, match='run at least one batch'):
        Moments(1, 2).covariance  # noqa: B018
    assert math.isnan(moments_of(torch.full((2, 1, 2), math.nan)).covariance[0, 0, 0])
