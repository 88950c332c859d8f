"""Drawn scenes: the same ones always, read by the stock data set classes."""
import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from denoiserep_ext.datasets.scenes import CLASSES, SceneConfig, draw_scenes, write_scenes

SMALL = SceneConfig(size=64, train=12, val=4, test=4)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp('scenes') / 'scenes'
    write_scenes(out, SMALL)
    return out


def test_same_seed_same_scenes(folder, tmp_path):
    write_scenes(tmp_path / 'again', SMALL)
    write_scenes(tmp_path / 'other', SceneConfig(seed=1, size=64, train=12, val=4, test=4))

    def prints(root):
        return {p.relative_to(root): hashlib.sha256(p.read_bytes()).hexdigest()
                for p in root.rglob('*.png')}

    assert prints(tmp_path / 'again') == prints(folder) != prints(tmp_path / 'other')


def test_more_images_leave_the_first_ones_alone():
    first = next(draw_scenes(SMALL, 'train'))
    again = next(draw_scenes(SceneConfig(size=64, train=99), 'train'))
    assert np.array_equal(first.image, again.image)


def test_objects_are_what_the_labels_say():
    scenes = list(draw_scenes(SceneConfig(train=60), 'train'))
    counts = [len(scene.digits) for scene in scenes]
    assert 0 in counts and max(counts) == 5
    assert {label for scene in scenes for label, _ in scene.digits} == set(range(10))
    for scene in scenes:
        labels = scene.labels()
        assert (labels > 0).sum() == sum(mask.sum() for _, mask in scene.digits), 'masks overlap'
        for label, mask in scene.digits:
            assert mask.sum() > 30 and set(labels[mask]) == {label + 1}


def test_coco_reads_boxes_and_masks(folder):
    from pycocotools.coco import COCO
    for split in ('train', 'val', 'test'):
        coco = COCO(folder / f'annotations/instances_{split}.json')
        assert [c['name'] for c in coco.dataset['categories']] == list(CLASSES)
        for annotation in coco.anns.values():
            mask = coco.annToMask(annotation).astype(bool)
            labels = np.asarray(Image.open(folder / 'labels' / split /
                                           f'{annotation["image_id"]:05d}.png'))
            assert mask.sum() == annotation['area']
            assert set(labels[mask]) == {annotation['category_id'] + 1}
            x, y, width, height = annotation['bbox']
            inside = mask[y:y + height, x:x + width]
            assert inside.sum() == mask.sum() and inside[0].any() and inside[:, -1].any()


@pytest.mark.parametrize('corner', [0, 1])
def test_run_lengths_decode_to_the_mask(corner):
    from pycocotools import mask as coder

    from denoiserep_ext.datasets.scenes import _instance
    rng = np.random.default_rng(corner)
    for _ in range(50):
        mask = rng.random((5, 7)) < 0.5
        mask[0, 0], mask[-1, -1] = corner, 1 - corner
        runs = _instance(mask)['segmentation']
        assert np.array_equal(coder.decode(coder.frPyObjects(runs, 5, 7)).astype(bool), mask)


def test_stock_data_sets_read_the_folder(folder):
    mmdet, mmseg = pytest.importorskip('mmdet.datasets'), pytest.importorskip('mmseg.datasets')
    detection = mmdet.CocoDataset(
        data_root=f'{folder}/', ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'), metainfo=dict(classes=CLASSES), pipeline=[])
    wanted = json.loads((folder / 'scenes.json').read_text())['digits']['train']
    found = [detection.get_data_info(i)['instances'] for i in range(len(detection))]
    assert len(found) == 12 and sum(map(len, found)) == wanted
    segmentation = mmseg.BaseSegDataset(
        data_root=str(folder), img_suffix='.png', metainfo=dict(classes=('ground', *CLASSES)),
        data_prefix=dict(img_path='val', seg_map_path='labels/val'), pipeline=[])
    assert len(segmentation) == 4


def test_a_folder_is_written_once_and_never_over(folder, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in folder.rglob('*')}
    write_scenes(folder, SMALL)
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob('*')}
    with pytest.raises(FileExistsError, match='does not hold the scenes asked for'):
        write_scenes(folder, SceneConfig(seed=5, size=64, train=12, val=4, test=4))
    (tmp_path / 'mine').mkdir()
    with pytest.raises(FileExistsError, match='mine'):
        write_scenes(tmp_path / 'mine', SMALL)


def test_an_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, 'save', lambda *a, **k: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        write_scenes(tmp_path / 'scenes', SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('options, message', [
    (dict(size=10), 'size must be an integer >= 64'), (dict(train=0), 'train must be'),
    (dict(seed=-1), 'seed must be'), (dict(max_digits=True), 'max_digits must be'),
])
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SceneConfig(**options)
