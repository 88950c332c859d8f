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


def results(model, images, amp=None):
    leaf = images.clone().requires_grad_()
    with torch.autocast(images.device.type, amp or torch.bfloat16, enabled=amp is not None):
        y = model(leaf)[0]
    y.float().square().mean().backward()
    return [y.detach().float(), leaf.grad, *(p.grad for p in model.parameters())]


def assert_near(ours, theirs, tolerance):
    for a, b in zip(ours, theirs):
        assert ((a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1e-6)).item()


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('size', [(64, 64), (48, 80)])
def test_float32(walked, device, size, channels_last):
    ours, chunked = models(device)
    images = torch.randn(2, 3, *size, device=device)
    if channels_last:
        ours, images = (x.to(memory_format=torch.channels_last) for x in (ours, images))
    assert_near(results(ours, images), results(chunked, images), 1e-3)
    assert walked == [torch.float32] * 2


@pytest.mark.parametrize('amp', [torch.float16, torch.bfloat16])
def test_mixed_precision(walked, device, amp):
    ours, chunked = models(device)
    images = torch.randn(2, 3, 64, 64, device=device)
    y, expected = (results(model, images, amp)[0] for model in (ours, chunked))
    assert_near([y], [expected], 16 * torch.finfo(amp).eps)
    assert walked == [amp] * 2


def test_compiled(walked, device):
    ours, chunked = models(device)
    images = torch.randn(2, 3, 64, 64, device=device)
    with torch.no_grad():
        assert_near(torch.compile(ours.eval())(images), chunked.eval()(images), 1e-3)
    assert walked


def test_float64_takes_the_plain_path(walked, device):
    ours, chunked = models(device)
    ours, chunked = ours.double(), chunked.double()
    images = torch.randn(1, 3, 64, 64, device=device).double()
    assert torch.equal(ours(images)[0], chunked(images)[0])
    assert not walked
