import pytest

pytest.importorskip('fastreid', reason='needs FastReID (bash tools/install.sh)')

import denoiserep_ext.reid  # noqa: E402, F401  (makes FastReID importable, before any test imports it)


@pytest.fixture(scope='session')
def digits(tmp_path_factory):
    """The digits as a retrieval set."""
    from denoiserep_ext.datasets.retrieval import write_retrieval
    folder = tmp_path_factory.mktemp('data') / 'digits'
    write_retrieval(folder)
    return folder


@pytest.fixture(scope='session')
def baseline(tmp_path_factory, digits):
    """Checkpoint of a small OSNet trained for one epoch by FastReID's own meta-architecture."""
    from tests.reid.helpers import reid_config, train
    folder = tmp_path_factory.mktemp('reid-baseline')
    train(reid_config(folder, digits, 'MODEL.META_ARCHITECTURE', 'Baseline', 'SOLVER.MAX_EPOCH', 1))
    return str(folder / 'model_final.pth')
