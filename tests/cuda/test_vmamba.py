"""VMamba on a GPU: the kernel is taken where nothing else is asked for, and changes nothing."""
import copy

import pytest
import torch

from denoiserep_ext import VMamba
from denoiserep_ext.models import vss_block

pytest.importorskip('triton', reason='needs Triton: pip install triton')


@pytest.fixture
def walked(monkeypatch, device):
    """Counts scans that walk the paths themselves."""
    if device.type == 'cpu':
        pytest.skip('the kernel runs on GPUs')
    calls = []
    inner = vss_block.image_scan
    monkeypatch.setattr(vss_block, 'image_scan', lambda *x: calls.append(x[0].dtype) or inner(*x))
    return calls


def models(device, **options):
    """One that chooses, and one told to take the plain path."""
    model = VMamba(dict(dims=16, depths=(1, 1)), out_indices=(1, ), drop_path_rate=0.0, **options)
    chunked = copy.deepcopy(model)
    for module in chunked.modules():
        if isinstance(module, vss_block.SS2D):
            module.scan_backend = 'chunked'
    return model.to(device), chunked.to(device)


def results(model, images, weights, amp=None):
    """Output and all gradients of a weighted sum of it. (Its square would not do: the output is
    normalised, and what is left of its gradient is rounding.)"""
    leaf = images.clone().requires_grad_()
    with torch.autocast(images.device.type, amp or torch.bfloat16, enabled=amp is not None):
        y = model(leaf)[0]
    (y * weights).sum().backward()
    return [y.detach(), leaf.grad, *(p.grad for p in model.parameters())]


def errors(ours, exact):
    """Largest error of each tensor, over its largest value."""
    return [((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, exact)]


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('size', [(64, 64), (48, 80)])
def test_float32_is_as_exact_as_the_plain_path(walked, device, size, channels_last, record_error):
    ours, chunked = models(device)
    exact = copy.deepcopy(chunked).double()
    images = torch.randn(2, 3, *size, device=device)
    weights = torch.randn(exact(images.double())[0].shape, device=device)
    truth = results(exact, images.double(), weights.double())
    if channels_last:
        ours, images = (x.to(memory_format=torch.channels_last) for x in (ours, images))
    mine, plain = (max(errors(results(model, images, weights), truth)) for model in (ours, chunked))
    record_error('VMamba in float32 on a GPU, Triton scan', mine)
    record_error('VMamba in float32 on a GPU, plain path', plain)
    assert plain < 1e-4
    assert mine <= max(2 * plain, 1e-5)  # the kernels' own tolerance
    assert walked == [torch.float32] * 2


@pytest.mark.parametrize('amp', [torch.float16, torch.bfloat16])
def test_mixed_precision_is_as_exact_as_the_plain_path(walked, device, amp):
    ours, chunked = models(device)
    exact = copy.deepcopy(chunked).double()
    images = torch.randn(2, 3, 64, 64, device=device)
    weights = torch.randn(exact(images.double())[0].shape, device=device)
    truth = results(exact, images.double(), weights.double())
    mine, plain = (errors(results(model, images, weights, amp), truth) for model in (ours, chunked))
    assert mine[0] <= 16 * torch.finfo(amp).eps
    assert sum(mine) <= 2 * sum(plain)
    assert walked == [amp] * 2


def test_compiled(walked, device):
    ours, chunked = models(device)
    images = torch.randn(2, 3, 64, 64, device=device)
    with torch.no_grad():
        found = errors(torch.compile(ours.eval())(images), chunked.eval()(images))
    assert max(found) < 1e-3
    assert walked


def test_float64_takes_the_plain_path(walked, device):
    ours, chunked = models(device)
    ours, chunked = ours.double(), chunked.double()
    images = torch.randn(1, 3, 64, 64, device=device).double()
    assert torch.equal(ours(images)[0], chunked(images)[0])
    assert not walked
