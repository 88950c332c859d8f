"""Fixtures shared by all tests, and the figures they print at the end."""
from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile('default', max_examples=100, deadline=None, derandomize=True,
                          suppress_health_check=[HealthCheck.too_slow])
settings.register_profile('long', parent=settings.get_profile('default'), max_examples=2000,
                          derandomize=False, print_blob=True)
settings.load_profile(os.environ.get('DENOISEREP_FUZZ', 'default'))

_worst: dict[str, float] = defaultdict(float)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def record_error():
    """Note an error under a heading; the worst of each is printed after the run."""

    def record(heading: str, error: float) -> None:
        _worst[heading] = max(_worst[heading], float(error))

    return record


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder of real test data, from DENOISEREP_TEST_DATA."""
    folder = os.environ.get('DENOISEREP_TEST_DATA')
    if not folder:
        pytest.skip('needs real data: set DENOISEREP_TEST_DATA to its folder')
    return Path(folder)


def pytest_terminal_summary(terminalreporter):
    if _worst:
        terminalreporter.section('worst errors of this run')
        for heading, error in sorted(_worst.items()):
            terminalreporter.write_line(f'{heading:<72} {error:.2e}')
