"""One-pass denoising of finished classifiers, detectors and segmentors, real data and evaluators."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from denoiserep_ext import DenoiseRepConfig, convert_, explicit_path
from denoiserep_ext.calibrate.denoising import Denoising
from denoiserep_ext.calibrate.images import DataOptions
from denoiserep_ext.calibrate.one_pass import PassOptions
from denoiserep_ext.calibrate.openmmlab import OpenMMLab
from denoiserep_ext.calibrate.passing import PassMoments, run_pass
from denoiserep_ext.calibrate.plans import SweepOptions
from denoiserep_ext.calibrate.run import calibrate
from denoiserep_ext.core.files.reading import read_checkpoint
from denoiserep_ext.core.fit.embedding import class_posterior
from denoiserep_ext.core.fit.one_pass import solve_
from denoiserep_ext.mm.models import build_model
from tests.mm.dense import dense_config
from tests.mm.helpers import classifier_config, equal
from tests.mm.test_isolation import BLOCK

ROOT = Path(__file__).parents[2]
DATA = DataOptions(images=96, val_images=40)


def stock(cfg, path):
    """The config's model, built by its host alone, with a file's weights, strictly."""
    model = build_model(cfg)
    model.load_state_dict(read_checkpoint(path)['state_dict'], strict=True)
    return model.eval()


def images_of(host, count=16):
    batch = host.collate([host.images[i] for i in range(count)])
    return batch, host._inputs(batch)['inputs']


def test_denoised_file_is_the_unfused_model_in_the_stock_host(tmp_path, digits, baseline):
    """Against converting by hand and denoising features explicitly."""
    cfg = classifier_config(tmp_path, digits)
    host = OpenMMLab(cfg, baseline(), DATA)
    calibrate(host, tmp_path / 'out.pth', Denoising('relative', 0.2),
              PassOptions(write=tmp_path / 'moments.pth'))
    fused = stock(cfg, tmp_path / 'out.pth')
    model = stock(cfg, baseline())
    convert_(model.backbone, DenoiseRepConfig(noise='relative', strength=0.2))
    solve_(model, PassMoments.read(tmp_path / 'moments.pth').layers)
    _, inputs = images_of(host)
    with torch.no_grad():
        plain = stock(cfg, baseline())(inputs)
        with explicit_path(model):
            explicit = model(inputs)
        ours = fused(inputs)
    assert (ours - explicit).abs().max() < 1e-4 * explicit.abs().max() < (plain - explicit).abs().max()


@pytest.mark.parametrize('backbone', ['vit', 'resnet'])
def test_within_class_noise_in_the_classifier_is_free(tmp_path, digits, baseline, backbone):
    cfg = classifier_config(tmp_path, digits, backbone=backbone)
    host = OpenMMLab(cfg, baseline(backbone), DATA)
    figures = calibrate(host, tmp_path / 'out.pth', Denoising('within_class', 1.0),
                        PassOptions(write=tmp_path / 'moments.pth'))
    assert 'no cost' in figures['cost'] and figures['files'] == [str(tmp_path / 'out.pth')]
    affine = class_posterior(PassMoments.read(tmp_path / 'moments.pth').embedding, 1.0)
    fused, plain = stock(cfg, tmp_path / 'out.pth'), stock(cfg, baseline(backbone))
    _, inputs = images_of(host)
    with torch.no_grad():
        features = plain.extract_feat(inputs, stage='pre_logits')
        assert torch.equal(features, fused.extract_feat(inputs, stage='pre_logits'))
        head = plain.head.layers.head if backbone == 'vit' else plain.head.fc
        torch.testing.assert_close(fused(inputs), head(affine(features)), rtol=1e-4, atol=1e-4)
        assert (fused(inputs) - plain(inputs)).abs().max() > 1e-2


@pytest.mark.parametrize('backbone', ['vit', 'resnet'])
def test_within_class_noise_in_features_comes_with_its_config(tmp_path, digits, baseline, backbone):
    """One linear neck, whose cost is told; a second time it folds into that neck and costs nothing."""
    cfg = classifier_config(tmp_path, digits, backbone=backbone)
    host = OpenMMLab(cfg, baseline(backbone), DATA, place='features')
    figures = calibrate(host, tmp_path / 'out.pth', Denoising('within_class', 1.0),
                        PassOptions(write=tmp_path / 'moments.pth'))
    assert 'more multiplications per image' in figures['cost']
    affine = class_posterior(PassMoments.read(tmp_path / 'moments.pth').embedding, 1.0)
    written = Config.fromfile(tmp_path / 'out.py')
    assert 'denoiserep' not in (tmp_path / 'out.py').read_text()
    fused, plain = stock(written, tmp_path / 'out.pth'), stock(cfg, baseline(backbone))
    _, inputs = images_of(host)
    with torch.no_grad():
        features = plain.extract_feat(inputs)[-1]
        ours = fused.extract_feat(inputs)[-1]
    torch.testing.assert_close(ours, affine(features), rtol=1e-4, atol=1e-4)

    again = OpenMMLab(tmp_path / 'out.py', tmp_path / 'out.pth', DATA, place='features')
    figures = calibrate(again, tmp_path / 'twice.pth', Denoising('within_class', 1.0), PassOptions())
    assert figures['cost'] == 'folded into neck.fc: no cost'
    stock(written, tmp_path / 'twice.pth')


@pytest.mark.parametrize('backbone', ['vit', 'resnet'])
def test_centred_features_leave_the_classifier_as_it_is(tmp_path, digits, baseline, backbone):
    """Features lose their mean, logits do not notice."""
    cfg = classifier_config(tmp_path, digits, backbone=backbone)
    host = OpenMMLab(cfg, baseline(backbone), DATA, place='features')
    for name, centred in (('whole', False), ('centred', True)):
        calibrate(host, tmp_path / f'{name}.pth', Denoising('within_class', 1.0, centred=centred),
                  PassOptions(write=tmp_path / f'{name}-moments.pth'))
    mean = PassMoments.read(tmp_path / 'whole-moments.pth').embedding.all.mean[0].float()
    whole, centred = (stock(Config.fromfile(tmp_path / f'{name}.py'), tmp_path / f'{name}.pth')
                      for name in ('whole', 'centred'))
    _, inputs = images_of(host)
    with torch.no_grad():
        torch.testing.assert_close(whole(inputs), centred(inputs), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(whole.extract_feat(inputs)[-1],
                                   centred.extract_feat(inputs)[-1] + mean, rtol=1e-4, atol=1e-4)
    free = OpenMMLab(cfg, baseline(backbone), DATA)
    with pytest.raises(ValueError, match='place features'):
        calibrate(free, tmp_path / 'no.pth', Denoising('within_class', 1.0, centred=True), PassOptions())


@pytest.mark.matrix
def test_files_score_in_mim_test_without_this_package(tmp_path, digits, baseline):
    """What the stock host scores with both files is what the tool's own evaluation said."""
    cfg = classifier_config(tmp_path / 'work', digits)
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site/sitecustomize.py').write_text(BLOCK)
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path / 'site')}
    cfg.dump(tmp_path / 'layers.py')
    for name, noise, place in (('layers', 'relative', 'classifier'),
                               ('features', 'within_class', 'features')):
        host = OpenMMLab(cfg, baseline(), DATA, place=place)
        calibrate(host, tmp_path / f'{name}.pth', Denoising(noise, 0.5), PassOptions())
        expected = host.test()['accuracy/top1']
        result = subprocess.run(
            [Path(sys.executable).with_name('mim'), 'test', 'mmpretrain', str(tmp_path / f'{name}.py'),
             '--checkpoint', str(tmp_path / f'{name}.pth'),
             '--work-dir', str(tmp_path / f'test-{name}')],
            env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
        scores = json.loads(next((tmp_path / f'test-{name}').glob('*/*.json')).read_text())
        assert scores['accuracy/top1'] == expected


@pytest.mark.parametrize('kind', ['detector', 'segmentor'])
def test_detectors_and_segmentors_sweep_with_their_own_evaluators(
        tmp_path, scenes, dense_baseline, kind):
    cfg = dense_config(kind, tmp_path / 'work', scenes)
    host = OpenMMLab(cfg, dense_baseline(kind), DataOptions(images=8, val_images=6), True, parts=2)
    assert host.classes == 0, 'a default sweep tries no within-class noise here'
    figures = calibrate(host, tmp_path / 'out.pth', Denoising('relative', 0.1), PassOptions(),
                        SweepOptions(['relative'], [0.01, 1.0], write_anyway=True))
    metric = {'detector': 'coco/bbox_mAP', 'segmentor': 'mIoU'}[kind]
    assert figures['metric'] == metric and figures['parts'] == 2
    assert figures['test']['plain'].keys() == figures['test']['denoised'].keys()
    model = stock(cfg, tmp_path / 'out.pth')
    plain = stock(cfg, dense_baseline(kind)).state_dict()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, plain[key])}
    assert changed and all(key.startswith('backbone.') for key in changed)
    with pytest.raises(ValueError, match='there are none here'):
        calibrate(host, tmp_path / 'no.pth', Denoising('within_class', 1.0), PassOptions())
    assert not (tmp_path / 'no.pth').exists()


def test_plain_test_scores_are_the_runners(tmp_path, digits, baseline):
    from tests.mm.helpers import build
    cfg = classifier_config(tmp_path, digits, load_from=baseline())
    assert OpenMMLab(cfg, baseline(), DATA).test() == build(cfg).test()


def test_parts_of_a_detectors_validation_add_up(tmp_path, scenes, dense_baseline):
    """One part alone scores what COCO's own annotation file scores on all images."""
    cfg = dense_config('detector', tmp_path / 'work', scenes)
    host = OpenMMLab(cfg, dense_baseline('detector'), DataOptions(val_images=6), True, parts=2)
    host.parts = 1
    whole = host.validate()
    dataset = host.val.dataset
    expected = host._evaluate(dataset, cfg.val_evaluator, dataset.metainfo)
    assert whole.metrics['coco/bbox_mAP_50'] == pytest.approx(expected['coco/bbox_mAP_50'], abs=2e-3)


def test_validation_is_kept_out_of_pass_and_test(tmp_path, digits, baseline):
    """Here validation and test are the same images, so validation comes from the train set."""
    cfg = classifier_config(tmp_path, digits)
    host = OpenMMLab(cfg, baseline(), DataOptions(images=None, val_images=40), True)
    assert host.held_out and 'kept out of the pass' in host.split
    assert not set(host.val.indices) & set(host.order)
    assert len(host.val) == 40 and len(host.order) == len(host.images) - 40
    count = len(host.images)
    once = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=once)
    assert len(OpenMMLab(cfg, baseline(), DATA).images) == count, 'each image once'
    cfg.val_dataloader.dataset.data_prefix = 'train'
    other = OpenMMLab(cfg, baseline(), DATA, True)
    assert not other.held_out and "config's validation set" in other.split


def test_any_folder_of_images_will_do_without_labels(tmp_path, digits, baseline, scenes, dense_baseline):
    data = DataOptions(images=20, folder=digits / 'train')
    cfg = classifier_config(tmp_path, digits)
    cfg.train_dataloader.dataset.data_root = 'nowhere'
    host = OpenMMLab(cfg, baseline(), data)
    assert len(host.order) == 20 and host.classes == 0
    calibrate(host, tmp_path / 'out.pth', Denoising('relative', 0.2), PassOptions())
    stock(cfg, tmp_path / 'out.pth')
    with pytest.raises(ValueError, match='there are none here'):
        calibrate(host, tmp_path / 'no.pth', Denoising('within_class', 1.0), PassOptions())
    for kind in ('detector', 'segmentor'):
        images = [path for path in sorted(scenes.rglob('*')) if path.suffix in ('.png', '.jpg')]
        folder = next(path.parent for path in images if 'train' in str(path) and 'ann' not in str(path))
        dense = OpenMMLab(dense_config(kind, tmp_path / kind, scenes), dense_baseline(kind),
                          DataOptions(images=3, folder=folder))
        assert run_pass(dense, 'auto', False, 4, 0).images == 3


def test_the_hooks_selection_is_kept_and_the_hook_left_out(tmp_path, digits, baseline):
    cfg = classifier_config(tmp_path, digits, hook=dict(layers=['ffn.layers.1']))
    host = OpenMMLab(cfg, baseline(), DATA)
    figures = run_pass(host, host.layers, False, 4, 0)
    assert all(name.endswith('ffn.layers.1') for name in figures.layers)
    assert host.cfg.custom_hooks == []
    wrapped = classifier_config(tmp_path, digits)
    wrapped.model.backbone = dict(type='denoiserep_ext.DenoiseRepBackbone',
                                  backbone=wrapped.model.backbone)
    assert equal(OpenMMLab(wrapped, baseline(), DATA).model.state_dict(), host.model.state_dict())


def calibrate_tool(*arguments, launcher=()):
    program = launcher or [sys.executable]
    return subprocess.run([*program, str(ROOT / 'tools/calibrate.py'), *map(str, arguments)],
                          capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, 'OMP_NUM_THREADS': '1'})


@pytest.mark.matrix
def test_two_processes_take_the_moments_of_one(tmp_path, digits, baseline):
    """torchrun on gloo, to 1e-12, labelled embeddings included; every image once."""
    cfg = classifier_config(tmp_path / 'work', digits, backbone='resnet')
    cfg.dump(tmp_path / 'config.py')
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    for name, launcher in (('one', ()), ('two', torchrun)):
        result = calibrate_tool(
            tmp_path / 'config.py', baseline('resnet'), '--out', tmp_path / f'{name}.pth',
            '--sweep', '1', '--write-anyway', '--batch-size', 16, '--images', 90, '--val-images', 40,
            '--save-moments', tmp_path / f'moments-{name}.pth', launcher=launcher)
        assert result.returncode == 0, result.stderr[-3000:]
    one, two = (PassMoments.read(tmp_path / f'moments-{name}.pth') for name in ('one', 'two'))
    assert one.images == two.images == 90 and one.model == two.model
    for name, mine in one.layers.items():
        theirs = two.layers[name]
        assert mine.count == theirs.count
        torch.testing.assert_close(mine.covariance, theirs.covariance, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(mine.mean, theirs.mean, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(one.embedding.between_and_within(), two.embedding.between_and_within()):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(*(torch.load(tmp_path / f'{name}.pth', weights_only=True)['state_dict']
                                 for name in ('one', 'two')))


@pytest.mark.parametrize('arguments, words', [
    (['--steps', '1', '2'], 'steps lists 2 values'),
    (['--noise', 'within_class', '--step-stride', '2'], 'takes a strength'),
    (['--layers', 'nothing'], 'selects none of the'),
    (['--target', 'bckbone'], "no part 'bckbone'"),
    (['--share', '3/2'], 'K from 1 to N'),
    (['--share', '1'], "share '1' is not K/N"),
    (['--share', 'a/b'], "share 'a/b' is not K/N"),
    (['--share', '1/2/3'], "share '1/2/3' is not K/N"),
    (['--image-folder', 'nowhere'], 'no such folder'),
    (['--moments', 'nowhere.pth'], 'nowhere.pth: no such checkpoint'),
    (['--sweep', '0.1', '--val-parts', '500'], '500 parts cannot be made'),
    (['--sweep', '0.1', '--metric', 'mAP'], "reports no 'mAP'"),
    (['--checkpoint', 'resnet'], 'of another model'),
    (['--checkpoint', 'missing.pth'], 'missing.pth: no such checkpoint'),
    (['--out', 'there'], 'there.pth exists'),
])
def test_bad_input_is_named_and_nothing_written(tmp_path, digits, baseline, arguments, words,
                                                monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import calibrate as tool
    monkeypatch.chdir(tmp_path)
    classifier_config(tmp_path / 'work', digits).dump('config.py')
    checkpoint, out = baseline(), 'out.pth'
    if arguments[0] == '--checkpoint':
        checkpoint = baseline('resnet') if arguments[1] == 'resnet' else arguments[1]
        arguments = []
    elif arguments[0] == '--out':
        out, arguments = 'there.pth', []
        Path(out).write_text('mine')
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    monkeypatch.setattr(sys, 'argv',
                        ['calibrate', 'config.py', str(checkpoint), '--out', out, *arguments])
    with pytest.raises(SystemExit) as error:
        tool.main()
    assert words in str(error.value.code)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before
