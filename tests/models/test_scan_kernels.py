"""Which path a scan takes, and what compiled kernels are handed and hand back.

Kernels need a GPU. Here modules with their calling conventions (fwd, bwd, steps last, directions'
channels together, rates in float32) compute the recurrence instead.
"""
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from denoiserep_ext.models import scan_kernels
from denoiserep_ext.models.selective_scan import selective_scan, stepwise_scan
from tests.models.test_selective_scan import inputs


def recurrence(u, delta, A, B, C, D, delta_bias):
    """In the kernels' layout: u, delta [b, K D, L], A [K D, N], B, C [b, K, N, L]."""
    K = B.shape[1]
    y = stepwise_scan(*(x.unflatten(1, (K, -1)).mT for x in (u, delta)), A.unflatten(0, (K, -1)),
                      B.mT, C.mT, D.unflatten(0, (K, -1)), delta_bias.unflatten(0, (K, -1)))
    return y.mT.flatten(1, 2)


class Kernel:
    """Either extension, with a record of its calls."""

    def __init__(self, name):
        self.name, self.calls = name, []
        self.module = SimpleNamespace(fwd=self.fwd, bwd=self.bwd)

    def fwd(self, u, delta, A, B, C, D, *rest):
        self.calls.append('fwd')
        if self.name == 'oflex':
            delta_bias, softplus, rows, wide = rest
            assert (softplus, rows, wide) == (True, 1, True)
        else:
            gate, delta_bias, softplus = rest
            assert (gate, softplus) == (None, True)
        values = u, delta, A, B, C, D, delta_bias
        assert A.dtype == D.dtype == delta_bias.dtype == torch.float32
        assert u.dtype == delta.dtype == B.dtype == C.dtype
        assert all(x.stride(-1) == 1 for x in (u, delta, B, C))
        y = recurrence(*(x.float() for x in values))
        return y if self.name == 'oflex' else y.to(u.dtype), torch.zeros(1)

    def bwd(self, u, delta, A, B, C, D, *rest):
        self.calls.append('bwd')
        if self.name == 'oflex':
            delta_bias, dy, x, softplus, rows = rest
            assert (softplus, rows) == (True, 1) and dy.dtype == torch.float32
        else:
            gate, delta_bias, dy, x, out, dgate, softplus, again = rest
            assert (gate, out, dgate, softplus, again) == (None, None, None, True, False)
            assert dy.dtype == u.dtype
        assert x.shape == (1, ) and dy.stride(-1) == 1
        values = [v.detach().float().requires_grad_() for v in (u, delta, A, B, C, D, delta_bias)]
        with torch.enable_grad():
            return torch.autograd.grad(recurrence(*values), values, dy.float())


@pytest.fixture
def install(monkeypatch):
    """Make kernels importable, and tensors of a CPU pass for a GPU's unless told otherwise."""

    def install(*names, fits=True):
        kernels = {name: Kernel(name) for name in names}
        monkeypatch.setattr(scan_kernels, '_module',
                            lambda name: kernels[name].module if name in kernels else None)
        if fits:
            monkeypatch.setattr(scan_kernels, '_fits', lambda u, states: True)
        return kernels

    return install


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('name', ['oflex', 'mamba'])
def test_kernel_and_plain_path_agree(name, dtype, install):
    kernel = install(name)[name]
    values = inputs(2, 4, 12, 3, 2, torch.float32)
    values[0], values[3], values[4] = (values[i].to(dtype) for i in (0, 3, 4))
    ours = [x.clone().requires_grad_() for x in values]
    theirs = [x.clone().requires_grad_() for x in values]
    close = dict(rtol=1e-5, atol=1e-5) if dtype == torch.float32 else dict(rtol=0.1, atol=0.1)
    y, expected = selective_scan(*ours), selective_scan(*theirs, backend='chunked')
    assert kernel.calls == ['fwd'] and y.dtype == torch.float32
    assert_close(y, expected, **close)
    y.mean().backward()
    expected.mean().backward()
    assert kernel.calls == ['fwd', 'bwd']
    for a, b in zip(ours, theirs):
        assert a.grad.dtype == b.grad.dtype
        assert_close(a.grad, b.grad, **close)


def test_the_path_is_chosen_by_tensor_not_by_machine(install):
    kernels = install('oflex', 'mamba', fits=False)
    values = inputs(1, 4, 6, 3, 2, torch.float32)
    assert_close(selective_scan(*values), stepwise_scan(*values))
    assert not kernels['oflex'].calls and not kernels['mamba'].calls
    with pytest.raises(RuntimeError, match="'mamba' is for CUDA tensors .* got torch.float32 on cpu"):
        selective_scan(*values, backend='mamba')


def test_oflex_comes_first_and_either_can_be_asked_for(install):
    kernels = install('oflex', 'mamba')
    values = inputs(1, 4, 6, 3, 2, torch.float32)
    selective_scan(*values)
    selective_scan(*values, backend='mamba')
    selective_scan(*values, backend='chunked')
    assert [k.calls for k in kernels.values()] == [['fwd'], ['fwd']]


def test_what_cannot_be_used_is_named(install):
    values = inputs(1, 4, 6, 3, 2, torch.float32)
    with pytest.raises(ValueError, match="backend='fast': choose chunked, oflex, mamba, triton"):
        selective_scan(*values, backend='fast')
    install()
    with pytest.raises(RuntimeError, match='selective_scan_cuda cannot be imported.*mamba_ssm'):
        selective_scan(*values, backend='mamba')
    with pytest.raises(RuntimeError, match='triton_scan cannot be imported.*pip install triton'):
        selective_scan(*values, backend='triton')


def test_only_what_the_kernels_were_built_for_fits():
    u = SimpleNamespace(is_cuda=True, dtype=torch.float16)
    assert scan_kernels._fits(u, 256) and not scan_kernels._fits(u, 257)
    for cuda, dtype in ((True, torch.float64), (False, torch.float32)):
        assert not scan_kernels._fits(SimpleNamespace(is_cuda=cuda, dtype=dtype), 1)
