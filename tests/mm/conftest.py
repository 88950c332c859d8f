from functools import cache

import pytest

pytest.importorskip('mmpretrain', reason='needs mmpretrain (bash tools/install.sh)')

from mmengine.config import utils as config_utils  # noqa: E402

from denoiserep_ext.mm.stacks import repair_package_names  # noqa: E402

repair_package_names()  # tests read stock configs by themselves, too
config_utils.load = cache(config_utils.load)  # 'host::' reads all metafiles of the host


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


@pytest.fixture(scope='session')
def scenes(tmp_path_factory):
    from denoiserep_ext.datasets.scenes import SceneConfig, write_scenes
    folder = tmp_path_factory.mktemp('data') / 'scenes'
    write_scenes(folder, SceneConfig(size=64, train=16, val=6, test=6))
    return folder


@pytest.fixture(scope='session')
def dense_baseline(tmp_path_factory, scenes):
    """Path of a checkpoint, by kind of model."""
    from tests.mm.dense import dense_config, middle_and_last
    from tests.mm.helpers import train
    cache = {}

    def path(kind):
        if kind not in cache:
            work_dir = tmp_path_factory.mktemp(f'baseline-{kind}')
            train(dense_config(kind, work_dir, scenes))
            cache[kind] = work_dir / middle_and_last(kind)[1]
        return str(cache[kind])

    return path
