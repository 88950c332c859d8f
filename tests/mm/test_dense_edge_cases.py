"""Odd images, labels and checkpoints: what the host does, we do too."""
import copy
import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import first_of
from tests.mm.dense import dense_config, metrics
from tests.mm.helpers import build, load, train, weights

pytest.importorskip('mmdet', reason='needs mmdet (bash tools/install.sh)')
pytest.importorskip('mmseg', reason='needs mmseg (bash tools/install.sh)')


def rewrite(scenes, folder, change):
    """A copy of the scenes with changed training annotations."""
    import shutil
    shutil.copytree(scenes, folder)
    path = folder / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def no_objects(content):
    content['annotations'] = []


def crowds_only(content):
    for annotation in content['annotations']:
        annotation['iscrowd'] = 1


def half_empty(content):
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] % 2]


def run(cfg):
    """What a run comes to: its losses, or the type of its error."""
    runner = build(cfg)
    try:
        runner.train()
    except Exception as error:
        return type(error)
    return runner


@pytest.mark.parametrize('change, solver', first_of([
    (half_empty, 'sgd'), (no_objects, 'one_pass'), (crowds_only, 'one_pass')]))
def test_images_without_objects_train_as_in_the_host(tmp_path, scenes, change, solver):
    folder = rewrite(scenes, tmp_path / 'scenes', change)
    short = {'train_cfg.max_epochs': 1}
    stock = run(dense_config('detector', tmp_path / 'stock', folder, options=short))
    ours = run(dense_config('detector', tmp_path / 'ours', folder, options=short,
                            hook=dict(solver=solver)))
    assert not isinstance(stock, type) and not isinstance(ours, type), (stock, ours)
    assert ours.iter == stock.iter == 4
    assert metrics(ours).keys() == metrics(stock).keys()
    assert all(torch.isfinite(v).all() for v in weights(tmp_path / 'ours/epoch_1.pth').values())


def test_images_of_different_sizes_in_one_batch(tmp_path, scenes):
    """Padded by the host; the layers see the padded features, as in stock training."""
    cfg = dense_config('detector', tmp_path, scenes, hook={}, options={'train_cfg.max_epochs': 1})
    resize = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'Resize')
    resize.update(type='RandomChoiceResize', scales=[(128, 128), (96, 96), (160, 160)])
    del resize['scale']
    sizes = set()
    runner = build(cfg)
    inner = runner.model.extract_feat

    def extract_feat(images):
        sizes.add(tuple(images.shape[-2:]))
        return inner(images)

    runner.model.extract_feat = extract_feat
    runner.train()
    assert len(sizes) > 1 and runner.iter == 4


def test_label_maps_of_ignored_pixels_only(tmp_path, scenes):
    import shutil
    folder = tmp_path / 'scenes'
    shutil.copytree(scenes, folder)
    for path in (folder / 'labels').rglob('*.png'):
        Image.fromarray(np.full((64, 64), 255, np.uint8)).save(path)
    stock = run(dense_config('segmentor', tmp_path / 'stock', folder))
    ours = run(dense_config('segmentor', tmp_path / 'ours', folder, hook={}))
    assert stock.iter == ours.iter == 8
    scores, expected = metrics(ours), metrics(stock)
    assert scores.keys() == expected.keys()
    assert np.isnan(scores['mIoU']) and np.isnan(expected['mIoU']) and np.isnan(scores['mBIoU'])


@pytest.mark.parametrize('kind, head', [('detector', 'roi_head.bbox_head.fc_cls'),
                                        ('segmentor', 'decode_head.conv_seg')])
def test_a_checkpoint_with_other_classes_loads_as_in_the_host(
        tmp_path, scenes, dense_baseline, kind, head, caplog):
    """The head of another size is left at its start, with the host's warning; the rest is loaded."""
    checkpoint = load(dense_baseline(kind))
    for part in ('weight', 'bias'):
        value = checkpoint['state_dict'][f'{head}.{part}']
        checkpoint['state_dict'][f'{head}.{part}'] = torch.cat([value, value])
    torch.save(checkpoint, tmp_path / 'other.pth')
    loaded = []
    for name, hook in (('stock', None), ('ours', {})):
        runner = build(dense_config(kind, tmp_path / name, scenes, hook=hook, resume=False,
                                    load_from=str(tmp_path / 'other.pth')))
        runner.call_hook('before_run')
        with caplog.at_level(logging.WARNING):
            runner.load_or_resume()
        state = copy.deepcopy(runner.model.state_dict())
        loaded.append({k: v for k, v in state.items() if 'denoiser' not in k})
    stock, ours = loaded
    assert stock.keys() == ours.keys()
    assert all(torch.equal(ours[k], checkpoint['state_dict'][k]) for k in ours
               if not k.startswith(head))
    assert ours[f'{head}.weight'].shape == stock[f'{head}.weight'].shape


def test_a_nan_in_a_detector_is_named(tmp_path, scenes, dense_baseline):
    checkpoint = load(dense_baseline('detector'))
    checkpoint['state_dict']['backbone.layer2.0.conv1.weight'][0] = float('nan')
    torch.save(checkpoint, tmp_path / 'nan.pth')
    with pytest.raises(FloatingPointError, match=r'backbone\.layer2\.0\.conv1: non-finite'):
        train(dense_config('detector', tmp_path / 'run', scenes, hook={},
                           load_from=str(tmp_path / 'nan.pth')))
    assert not list((tmp_path / 'run').glob('*.pth'))
