import pytest

pytest.importorskip('mmpretrain', reason='needs mmpretrain (bash tools/install.sh)')


@pytest.fixture(scope='session')
def digits(tmp_path_factory):
    from denoiserep_ext.datasets.digits import write_image_folder
    folder = tmp_path_factory.mktemp('data') / 'digits'
    write_image_folder(folder)
    return folder


@pytest.fixture(scope='session')
def baseline(tmp_path_factory, digits):
    """Path of a checkpoint, by backbone."""
    from tests.mm.helpers import classifier_config, train
    cache = {}

    def path(backbone='vit'):
        if backbone not in cache:
            work_dir = tmp_path_factory.mktemp(f'baseline-{backbone}')
            train(classifier_config(work_dir, digits, backbone=backbone, epochs=3))
            cache[backbone] = work_dir / 'epoch_3.pth'
        return str(cache[backbone])

    return path
