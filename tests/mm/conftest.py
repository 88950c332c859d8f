from functools import cache
from types import SimpleNamespace

import pytest

pytest.importorskip('mmpretrain', reason='needs mmpretrain (bash tools/install.sh)')

from mmengine.config import config as config_module  # noqa: E402
from mmengine.config import utils as config_utils  # noqa: E402
from mmengine.dataset import base_dataset  # noqa: E402
from mmengine.runner import runner as runner_module  # noqa: E402

from denoiserep_ext.mm.stacks import repair_package_names  # noqa: E402

repair_package_names()  # tests read stock configs by themselves, too
config_utils.load = cache(config_utils.load)  # 'host::' reads all metafiles of the host

# Half the time of a short run in mmengine is spent on what no test looks at: laying out a config several
# times over, asking the compiler for its version, and collecting garbage for every data set.
config_module.FormatCode = lambda text, **_: (text, False)
runner_module.collect_env = cache(runner_module.collect_env)
base_dataset.gc = SimpleNamespace(collect=lambda: None)


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
