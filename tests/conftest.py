"""Fixtures shared by all tests, and the figures they print at the end."""
from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile('default', max_examples=100, deadline=None, derandomize=True,
                          suppress_health_check=[HealthCheck.too_slow,
                                                  HealthCheck.function_scoped_fixture])
settings.register_profile('long', parent=settings.get_profile('default'), max_examples=2000,
                          derandomize=False, print_blob=True)
settings.load_profile(os.environ.get('DENOISEREP_FUZZ', 'default'))


def pytest_addoption(parser):
    parser.addoption('--all', action='store_true',
                     help='every recipe of every shipped config, and more of each architecture')


def pytest_collection_modifyitems(config, items):
    if not config.getoption('--all'):
        matrix = pytest.mark.skip(reason='others of its kind are run by default: pass --all')
        for item in items:
            # Not keywords: folders are among them.
            if item.get_closest_marker('matrix') or item.get_closest_marker('exhaustive'):
                item.add_marker(matrix)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_checkpoints_left(request):
    """Checkpoints of whole models add up to tens of GB in a run. The folders stay: mmengine's
    visualizer is one for the whole process and goes on writing into the first."""
    folder = request.getfixturevalue('tmp_path') if 'tmp_path' in request.fixturenames else None
    yield
    if folder is not None:
        for checkpoint in folder.rglob('*.pth'):
            checkpoint.unlink()


if 'PYTEST_XDIST_WORKER' in os.environ:
    torch.set_num_threads(1)  # workers share the cores; spinning thread pools would fight over them
    # Programs that tests start sum in the same order as the tests themselves: bit for bit the same.
    os.environ['OMP_NUM_THREADS'] = '1'


@pytest.fixture
def record_error(record_property):
    """Note an error under a heading; the worst of each is printed after the run."""

    def record(heading: str, error: float) -> None:
        record_property('error', (heading, float(error)))

    return record


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder of real test data, from DENOISEREP_TEST_DATA."""
    folder = os.environ.get('DENOISEREP_TEST_DATA')
    if not folder:
        pytest.skip('needs real data: set DENOISEREP_TEST_DATA to its folder')
    return Path(folder)


def pytest_terminal_summary(terminalreporter):
    worst: dict[str, float] = defaultdict(float)
    for report in terminalreporter.stats.get('passed', []):
        for name, value in report.user_properties:
            if name == 'error':
                worst[value[0]] = max(worst[value[0]], value[1])
    if worst:
        terminalreporter.section('worst errors of this run')
        for heading, error in sorted(worst.items()):
            terminalreporter.write_line(f'{heading:<72} {error:.2e}')
