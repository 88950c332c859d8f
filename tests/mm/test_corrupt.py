"""Images made worse in real pipelines of the three toolboxes."""
import copy
import subprocess
import sys

import mmcv
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, init_default_scope

pytest.importorskip('imagecorruptions', reason='needs imagecorruptions-imaug')

from denoiserep_ext.corruptions import ALL, Corruption, corrupt, least_side  # noqa: E402
from denoiserep_ext.mm.corrupt import (  # noqa: E402
    Corrupt,
    behind_loading,
    corrupted,
    corrupted_dataset,
)
from denoiserep_ext.mm.images import innermost  # noqa: E402
from tests.mm.dense import dense_config  # noqa: E402
from tests.mm.helpers import build, classifier_config, train  # noqa: E402

FOG = Corruption('fog', 3)


def colours(height=40, width=60):
    """A red image with a gradient: colour corruptions tell its channels apart."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(60, 220, width)
    image[..., 1] = 40
    return image


@pytest.fixture
def picture(tmp_path):
    from PIL import Image
    path = tmp_path / 'picture.png'
    Image.fromarray(colours()).save(path)
    return str(path)


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet', 'mmseg'])
@pytest.mark.parametrize('name', ['saturate', 'gaussian_noise', 'spatter'])
def test_a_pipeline_gets_what_the_corruption_makes_of_the_rgb_image(picture, scope, name):
    init_default_scope(scope)
    load = dict(type='LoadImageFromFile')
    pipeline = Compose(corrupted([load], Corruption(name, 4), 5))
    results = pipeline({'img_path': picture})
    expected = corrupt(colours(), name, 4, 5)
    assert np.array_equal(results['img'], expected[..., ::-1])
    assert results['img_shape'] == results['ori_shape'] == (40, 60)
    assert results['img'].flags.c_contiguous and results['img'].dtype == np.uint8
    floats = Compose(corrupted([dict(load, to_float32=True)], Corruption(name, 4), 5))
    assert floats({'img_path': picture})['img'].dtype == np.float32
    assert np.array_equal(floats({'img_path': picture})['img'], results['img'])


def test_a_data_set_that_holds_rgb_arrays_is_taken_as_such():
    init_default_scope('mmpretrain')
    pipeline = corrupted([dict(type='Resize', scale=16)], Corruption('saturate', 4))
    assert pipeline[0]['type'] == 'denoiserep_ext.Corrupt' and pipeline[0]['channel_order'] == 'rgb'
    results = Compose(pipeline[:1])({'img': colours()})
    assert np.array_equal(results['img'], corrupt(colours(), 'saturate', 4))


def test_any_transform_can_stand_behind_loading():
    pipeline = [dict(type='LoadAnnotations'), dict(type='mmdet.LoadImageFromFile'), dict(type='Resize')]
    before = copy.deepcopy(pipeline)
    longer = behind_loading(pipeline, dict(type='GaussianBlur'), dict(type='Other'))
    assert [t['type'] for t in longer] == ['LoadAnnotations', 'mmdet.LoadImageFromFile', 'GaussianBlur',
                                           'Other', 'Resize']
    assert pipeline == before


def test_every_data_set_below_wrappers_is_made_worse():
    leaf = dict(type='CustomDataset', pipeline=[dict(type='LoadImageFromFile')])
    nested = dict(type='RepeatDataset', dataset=dict(
        type='ConcatDataset', datasets=[leaf, dict(type='ClassBalancedDataset',
                                                   dataset=copy.deepcopy(leaf))]))
    worse = corrupted_dataset(nested, FOG, 7)
    for inner in innermost(worse):
        assert inner['pipeline'][1] == dict(type='denoiserep_ext.Corrupt', corruption='fog', severity=3,
                                            seed=7, channel_order='bgr')
    assert all(len(inner['pipeline']) == 1 for inner in innermost(nested))
    with pytest.raises(ValueError, match='Bare has no pipeline'):
        corrupted_dataset(dict(type='Wrapper', dataset=dict(type='Bare')), FOG)


@pytest.mark.parametrize('kind', ['detector', 'segmentor'])
def test_boxes_masks_and_labels_stay_and_images_change(tmp_path, scenes, kind):
    cfg = dense_config(kind, tmp_path, scenes)
    init_default_scope(cfg.default_scope)
    node = cfg.test_dataloader.dataset.to_dict()
    plain = DATASETS.build(copy.deepcopy(node))
    worse = DATASETS.build(corrupted_dataset(node, FOG))
    for index in range(3):
        a, b = plain[index], worse[index]
        assert a['inputs'].shape == b['inputs'].shape and (a['inputs'] != b['inputs']).any()
        assert a['data_samples'].metainfo == b['data_samples'].metainfo
        if kind == 'detector':
            mine, theirs = (sample['data_samples'].gt_instances.bboxes.tensor for sample in (a, b))
            assert (mine == theirs).all()
        else:
            assert (a['data_samples'].gt_sem_seg.data == b['data_samples'].gt_sem_seg.data).all()


def test_workers_and_order_change_nothing(tmp_path, digits):
    from torch.utils.data import DataLoader
    cfg = classifier_config(tmp_path, digits)
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(corrupted_dataset(cfg.test_dataloader.dataset,
                                               Corruption('impulse_noise', 2), 3))
    alone = [dataset[i]['inputs'] for i in (5, 3, 3, 0)]
    loader = DataLoader(dataset, 2, sampler=[0, 3, 5, 3], num_workers=2, collate_fn=list)
    loaded = [sample['inputs'] for batch in loader for sample in batch]
    for mine, theirs in zip(alone, (loaded[2], loaded[1], loaded[3], loaded[0])):
        assert (mine == theirs).all()


def test_a_runner_trains_and_tests_on_worse_images(tmp_path, digits):
    """From a dumped config, as mim does, without custom imports."""
    cfg = classifier_config(tmp_path / 'work', digits, epochs=1)
    for split in ('train', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.dataset = corrupted_dataset(loader.dataset.to_dict(), Corruption('contrast', 5))
    cfg.dump(tmp_path / 'config.py')
    cfg = Config.fromfile(tmp_path / 'config.py')
    train(cfg)
    cfg.load_from = str(tmp_path / 'work/epoch_1.pth')
    metrics = build(cfg).test()
    assert 0 <= metrics['accuracy/top1'] <= 100


def test_the_name_resolves_in_a_process_that_imports_mmengine_alone(picture):
    code = ('from mmengine.dataset import Compose\n'
            'from mmengine.registry import init_default_scope\n'
            'import mmpretrain.datasets\ninit_default_scope("mmpretrain")\n'
            'pipeline = Compose([dict(type="LoadImageFromFile"), dict(type="denoiserep_ext.Corrupt", '
            'corruption="fog@3")])\n'
            f'print(pipeline({{"img_path": {picture!r}}})["img"].shape)')
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True)
    assert result.stdout.strip().endswith('(40, 60, 3)'), result.stderr


def test_real_photographs_take_every_corruption(real_data):
    """CamVid, 480 x 360."""
    path = next((real_data / 'camvid/img/val').glob('*.png'))
    image = mmcv.imread(path)
    for name in ALL:
        worse = Corrupt(name, 5)({'img': image.copy()})['img']
        assert worse.shape == image.shape and worse.std() > 1
        assert np.abs(worse.astype(int) - image).mean() > 1


@pytest.mark.parametrize('options, words', [
    (dict(corruption='smog', severity=3), "Unknown corruption 'smog'"),
    (dict(corruption='fog', severity=6), 'fog has no severity 6'),
    (dict(corruption='fog'), 'names no severity'),
    (dict(corruption='fog@3', channel_order='bgra'), "Unknown channel_order 'bgra'"),
])
def test_bad_options_are_refused_where_the_pipeline_is_built(options, words):
    init_default_scope('mmpretrain')
    with pytest.raises(ValueError, match=words):
        Compose([dict(type='denoiserep_ext.Corrupt', **options)])


@pytest.mark.parametrize('results, words', [
    ({}, 'found no image: put it behind the transform that loads one'),
    ({'img': colours(8, 8), 'img_path': 'a/b.png'}, r'a/b.png: fog needs images of at least 32 x 32'),
    ({'img': colours() / 100.0 - 1}, r'outside 0..255: Corrupt belongs before any normalisation'),
    ({'img': colours() * np.nan}, r'outside 0..255'),
    ({'img': colours().astype(np.int32)}, 'got int32'),
])
def test_what_is_no_image_is_named(results, words):
    assert least_side('fog') == 32
    with pytest.raises(ValueError, match=words):
        Corrupt('fog@3')(results)
