"""Tests that need an NVIDIA GPU: skipped without one. DENOISEREP_DEVICE=cpu runs them anyway, to check
the tests themselves."""
import os

import pytest
import torch

DEVICE = os.environ.get('DENOISEREP_DEVICE', 'cuda')


def pytest_collection_modifyitems(items):
    if DEVICE == 'cuda' and not torch.cuda.is_available():
        for item in items:
            if 'tests/cuda' in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason='needs a CUDA GPU'))


@pytest.fixture
def device():
    return torch.device(DEVICE)


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    """Float32 is to mean float32: convolutions would be in TF32 otherwise."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
