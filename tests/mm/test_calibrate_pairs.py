"""Finished models of three toolboxes denoised by images made worse: real data, pipelines, evaluators."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

pytest.importorskip('imagecorruptions', reason='needs imagecorruptions-imaug')

from denoiserep_ext import PairConfig, denoise_pairs_  # noqa: E402
from denoiserep_ext.calibrate.images import DataOptions  # noqa: E402
from denoiserep_ext.calibrate.openmmlab import OpenMMLab  # noqa: E402
from denoiserep_ext.calibrate.pairs import PairDenoising, PairOptions  # noqa: E402
from denoiserep_ext.calibrate.plans import PairSweepOptions  # noqa: E402
from denoiserep_ext.calibrate.run import calibrate  # noqa: E402
from denoiserep_ext.corruptions import Corruption, corrupt  # noqa: E402
from denoiserep_ext.robustness.openmmlab import OpenMMLab as Robustness  # noqa: E402
from tests.helpers import first_of
from tests.mm.dense import dense_config  # noqa: E402
from tests.mm.helpers import classifier_config, equal  # noqa: E402
from tests.mm.test_calibrate import ROOT, calibrate_tool, stock  # noqa: E402
from tests.mm.test_isolation import BLOCK  # noqa: E402

NOISE, JPEG = Corruption('gaussian_noise', 5), Corruption('jpeg_compression', 3)
UNJUDGED = PairDenoising(PairConfig(held_out=0.0, ridge=0.01, positions=8))
CLASSIFIERS = ('vit', 'resnet', 'vmamba')


def pair_host(cfg, checkpoint, data=None, **options):
    host = OpenMMLab(cfg, checkpoint, data or DataOptions(images=40), **options)
    host.layers = 'all'
    return host


@pytest.fixture
def trained(tmp_path, digits, baseline, scenes, dense_baseline):
    """A config and a checkpoint, by kind of model."""
    def make(kind):
        if kind in CLASSIFIERS:
            return classifier_config(tmp_path / 'work', digits, backbone=kind), baseline(kind)
        return dense_config(kind, tmp_path / 'work', scenes), dense_baseline(kind)

    return make


def by_hand(cfg, checkpoint, host, kind):
    """The walk with batches that the config's own registry makes of two pipelines."""
    model = stock(cfg, checkpoint)
    init_default_scope(cfg.default_scope)
    views = []
    for corruption in (None, NOISE, JPEG):
        node = cfg.train_dataloader.dataset.to_dict()
        pipeline = cfg.test_dataloader.dataset.to_dict()['pipeline']
        if corruption is not None:
            pipeline.insert(1, dict(type='denoiserep_ext.Corrupt', corruption=str(corruption)))
        views.append(DATASETS.build({**node, 'pipeline': pipeline}))
    pairs = []
    for batch in host.batches():
        clean, *worse = ({'inputs': model.data_preprocessor(pseudo_collate(
            [view[i] for i in batch]), False)['inputs']} for view in views)
        pairs.append((clean, worse))

    def forward(model, batch):
        return (model.extract_feat if kind == 'detector' else model)(batch['inputs'])

    denoise_pairs_(model, pairs, PairConfig(layers={'backbone': 'all'}, held_out=0.0, ridge=0.01,
                                            positions=8), forward)
    return model


@pytest.mark.parametrize('kind', first_of(['detector', *CLASSIFIERS, 'segmentor'], 2))
def test_the_written_file_is_the_walk_by_hand(tmp_path, trained, kind):
    cfg, checkpoint = trained(kind)
    host = pair_host(cfg, checkpoint, DataOptions(images=40, batch_size=8))
    figures = calibrate(host, tmp_path / 'out.pth', UNJUDGED, PairOptions([NOISE, JPEG]))
    assert figures['files'] == [str(tmp_path / 'out.pth')] and figures['denoised']
    written, plain = stock(cfg, tmp_path / 'out.pth'), stock(cfg, checkpoint)
    assert equal(written.state_dict(), by_hand(cfg, checkpoint, host, kind).state_dict())
    changed = {key for key, value in plain.state_dict().items()
               if not torch.equal(value, written.state_dict()[key])}
    assert changed and all(key.startswith('backbone.') for key in changed)
    assert host.judge == ('feature' if kind == 'detector' else 'js')
    report = json.loads((tmp_path / 'out_pairs.json').read_text(), parse_constant=pytest.fail)
    assert report['worse'] == ['gaussian_noise@5', 'jpeg_compression@3']
    assert report['images'] == len(host.order) and report['config']['layers'] == {'backbone': 'all'}
    assert Image.open(tmp_path / 'out_pairs.png').size[0] > 600


@pytest.mark.parametrize('kind', ['detector', 'segmentor'])
def test_the_judge_looks_at_features_and_at_class_scores(tmp_path, trained, kind):
    cfg, checkpoint = trained(kind)
    host = pair_host(cfg, checkpoint, DataOptions(images=16, batch_size=4))
    figures = calibrate(host, tmp_path / 'out.pth', PairDenoising(PairConfig(positions=8)),
                        PairOptions([NOISE]))
    verdict = json.loads((tmp_path / 'out_pairs.json').read_text())['verdict']
    assert verdict['kind'] == {'detector': 'feature', 'segmentor': 'js'}[kind]
    assert verdict['images'] == 3
    assert (tmp_path / 'out.pth').exists() == ('files' in figures) == verdict['accepted']


@pytest.mark.matrix
def test_a_judged_file_scores_in_mim_test_without_this_package(tmp_path, trained):
    """The stock host says of it, clean, what the tool said; and the worse test images are those of
    tools/robustness.py."""
    cfg, checkpoint = trained('resnet')
    host = pair_host(cfg, checkpoint, DataOptions(images=200, val_images=60), validating=True)
    setting = PairDenoising(PairConfig(positions=16))
    figures = calibrate(host, tmp_path / 'out.pth', setting, PairOptions([NOISE]),
                        PairSweepOptions(setting, [NOISE], clean_weights=(0.1, ), write_anyway=True))
    assert [point['clean_weight'] for point in figures['points']] == [0.1] * 3
    assert [point['damping'] for point in figures['points']] == [1.0, 0.5, 1.0]
    assert [point['ridge'] for point in figures['points']] == ['auto', 'auto', 0.01]
    best = figures['best']
    assert best['value'] == max(point['value'] for point in figures['points'])
    assert best['value'] == pytest.approx(np.mean([
        best['metrics']['accuracy/top1'], best['metrics']['gaussian_noise@5: accuracy/top1']]))
    both = Robustness(cfg, [checkpoint, tmp_path / 'out.pth'], batch_size=120).score([0, 1], NOISE)
    for name, metrics in zip(('plain', 'denoised'), both):
        assert figures['test'][name]['gaussian_noise@5: accuracy/top1'] == metrics['accuracy/top1']
    assert (tmp_path / 'out_pairs.json').exists() and (tmp_path / 'out_sweep.png').exists()

    (tmp_path / 'site').mkdir()
    (tmp_path / 'site/sitecustomize.py').write_text(BLOCK)
    cfg.dump(tmp_path / 'stock.py')
    result = subprocess.run(
        [Path(sys.executable).with_name('mim'), 'test', 'mmpretrain', str(tmp_path / 'stock.py'),
         '--checkpoint', str(tmp_path / 'out.pth'), '--work-dir', str(tmp_path / 'test')],
        env={**os.environ, 'PYTHONPATH': str(tmp_path / 'site')}, cwd=tmp_path, capture_output=True,
        text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    scores = json.loads(next((tmp_path / 'test').glob('*/*.json')).read_text())
    assert scores['accuracy/top1'] == figures['test']['denoised']['accuracy/top1']


def test_what_does_not_harm_is_no_gain_and_nothing_is_written(tmp_path, trained, capsys):
    """The digits are grey: more saturation changes nothing."""
    cfg, checkpoint = trained('vit')
    host, source = pair_host(cfg, checkpoint), PairOptions([Corruption('saturate', 3)])
    figures = calibrate(host, tmp_path / 'out.pth', PairDenoising(), source)
    assert 'files' not in figures and 'no model written' in capsys.readouterr().out
    assert {path.name for path in tmp_path.glob('out*')} == {'out_pairs.json', 'out_pairs.png'}
    assert equal(host.model.state_dict(), stock(cfg, checkpoint).state_dict())

    anyway = PairOptions(source.corruptions, write_anyway=True)
    assert calibrate(host, tmp_path / 'anyway.pth', PairDenoising(), anyway)['files']
    stock(cfg, tmp_path / 'anyway.pth')


def write_pairs(digits, folder, change):
    """Two folders of 40 images, the second changed."""
    for index, path in enumerate(sorted((digits / 'train').rglob('*.png'))[::25][:40]):
        image = Image.open(path).convert('RGB')
        for name, each in (('clean', image), ('worse', change(image))):
            (folder / name / str(index % 2)).mkdir(parents=True, exist_ok=True)
            each.save(folder / name / str(index % 2) / f'{index}.png')
    return folder / 'clean', folder / 'worse'


def test_two_folders_are_as_good_as_their_corruption(tmp_path, trained, digits):
    clean, worse = write_pairs(digits, tmp_path, lambda image: Image.fromarray(
        corrupt(np.asarray(image), 'gaussian_noise', 5)))
    cfg, checkpoint = trained('resnet')
    for name, data, source in (
            ('corruption', DataOptions(folder=clean), PairOptions([NOISE])),
            ('folders', DataOptions(folder=clean, worse=worse), PairOptions())):
        host = pair_host(cfg, checkpoint, data)
        assert calibrate(host, tmp_path / f'{name}.pth', UNJUDGED, source)['images'] == 40
    a, b = (stock(cfg, tmp_path / f'{name}.pth').state_dict() for name in ('corruption', 'folders'))
    assert equal(a, b) and not equal(a, stock(cfg, checkpoint).state_dict())
    assert json.loads((tmp_path / 'folders_pairs.json').read_text())['worse'] == ['worse images']


def test_a_lower_resolution_is_resized_by_the_pipeline_or_refused(tmp_path, trained, digits):
    clean, worse = write_pairs(digits, tmp_path, lambda image: image.resize((4, 4)))
    cfg, checkpoint = trained('resnet')
    data = DataOptions(folder=clean, worse=worse)
    assert calibrate(pair_host(cfg, checkpoint, data), tmp_path / 'out.pth', UNJUDGED,
                     PairOptions())['files']
    del cfg.test_dataloader.dataset.pipeline[1]  # the resizing
    with pytest.raises(ValueError, match=r'clean/.*png leaves the pipeline with \d+ x \d+ px and '
                                         r'.*worse/.*png with 4 x 4'):
        calibrate(pair_host(cfg, checkpoint, data), tmp_path / 'no.pth', UNJUDGED, PairOptions())
    assert not list(tmp_path.glob('no*'))


@pytest.mark.matrix
def test_two_processes_share_the_images(tmp_path, trained):
    """At every position and with a fixed ridge the shares add up to the whole."""
    cfg, checkpoint = trained('resnet')
    cfg.dump(tmp_path / 'config.py')
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    for name, launcher in (('one', ()), ('two', torchrun)):
        result = calibrate_tool(
            tmp_path / 'config.py', checkpoint, '--out', tmp_path / f'{name}.pth', '--noise',
            'corruption', '--corruptions', NOISE, '--images', 40, '--batch-size', 8, '--positions', 999,
            '--ridge', 0.01, '--held-out', 0, launcher=launcher)
        assert result.returncode == 0, result.stderr[-3000:]
        assert result.stdout.count('wrote') == 1
    host = pair_host(cfg, checkpoint)
    inputs = host.ready(host.collate([host.images[i] for i in range(16)]))['inputs']
    with torch.no_grad():
        one, two, plain = (stock(cfg, path)(inputs) for path in (
            tmp_path / 'one.pth', tmp_path / 'two.pth', checkpoint))
    assert (one - two).abs().max() < 1e-3 * (one - plain).abs().max()


SHOWN = ['--noise', 'corruption', '--images', '40']
FOG = [*SHOWN, '--corruptions', 'contrast']


@pytest.mark.parametrize('arguments, words', [
    ([*SHOWN, '--corruptions', 'rain'], "Unknown corruption 'rain'"),
    ([*SHOWN, '--corruptions', 'fog@6'], 'fog has no severity 6'),
    ([*SHOWN, '--corruptions', 'fog', '--severities', '6'], 'fog has no severity 6'),
    ([*SHOWN, '--corruptions', 'fog'], 'fog needs images of at least 32 x 32 px'),
    (SHOWN, 'name --corruptions'),
    ([*FOG, '--strength', '1'], '--strength belongs to unit, relative, within_class noise, not to cor'),
    ([*FOG, '--save-moments', 'm.pth'], '--save-moments belongs to'),
    ([*FOG, '--sweep', '0.1'], '--sweep LEVEL: strengths belong to other noise'),
    ([*FOG, '--noises', 'unit'], '--noises belongs to'),
    (['--noise', 'unit', '--corruptions', 'fog'], '--corruptions belongs to --noise corruption, not'),
    (['--clean-weight', '2'], '--clean-weight belongs to --noise corruption'),
    ([*FOG, '--clean-weight', '-1'], 'clean_weight must be a number >= 0'),
    ([*FOG, '--damping', '2'], 'damping must be a number in (0, 1]'),
    ([*FOG, '--held-out', '0.9'], 'held_out must be'),
    ([*FOG, '--images', '3'], '3 images in a process are too few for a judge'),
    ([*FOG, '--layers', 'nothing'], 'selects none of the'),
    ([*FOG, '--image-folder', 'empty'], 'empty: no images below it'),
    ([*FOG, '--image-folder', 'damaged'], 'damaged/0.png'),
    (['--pairs', 'clean', 'nowhere'], 'nowhere: no such folder'),
    (['--pairs', 'clean', 'empty'], 'empty: no images below it'),
    (['--pairs', 'clean', 'fewer'], 'have no partner in fewer: 0/0'),
    (['--pairs', 'clean', 'wide'], 'a pair may differ in resolution, not in proportions'),
    (['--pairs', 'clean', 'damaged'], 'damaged/0/0.png is damaged or not an image'),
    (['--pairs', 'clean', 'clean'], 'was named twice'),
    (['--pairs', 'clean', 'fewer', '--corruptions', 'fog'], 'choose one'),
    (['--pairs', 'clean', 'fewer', '--image-folder', 'clean'], 'leave out --image-folder'),
    (['--pairs', 'clean', 'fewer', '--sweep'], 'choose --clean-weight by hand'),
    (['--noise', 'unit', '--pairs', 'clean', 'fewer'], '--pairs belongs to --noise corruption'),
    ([*FOG, '--out', 'there'], 'there_pairs.png exists'),
    ([*FOG, '--checkpoint', 'nan'], 'NaN'),
])
def test_bad_input_is_named_and_nothing_written(tmp_path, digits, baseline, arguments, words,
                                                monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import calibrate as tool
    monkeypatch.chdir(tmp_path)
    classifier_config(tmp_path / 'work', digits).dump('config.py')
    clean, _ = write_pairs(digits, tmp_path, lambda image: image)
    for name in ('fewer', 'wide', 'damaged'):
        shutil.copytree(clean, tmp_path / name)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'fewer/0/0.png').unlink()
    Image.new('RGB', (8, 4)).save(tmp_path / 'wide/0/0.png')
    for path in (tmp_path / 'damaged').rglob('*.png'):
        path.rename(tmp_path / 'damaged' / path.name) if '--image-folder' in arguments else None
    next((tmp_path / 'damaged').rglob('0.png')).write_bytes(b'no image')
    out, checkpoint = 'out.pth', baseline()
    if '--out' in arguments:
        out, arguments = 'there.pth', arguments[:-2]
        Path('there_pairs.png').write_text('mine')
    if '--checkpoint' in arguments:
        file = torch.load(checkpoint, weights_only=False)
        next(iter(file['state_dict'].values())).fill_(float('nan'))
        checkpoint, arguments = tmp_path / 'nan.pth', arguments[:-2]
        torch.save({'state_dict': file['state_dict']}, checkpoint)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    monkeypatch.setattr(sys, 'argv',
                        ['calibrate', 'config.py', str(checkpoint), '--out', out, *arguments])
    with pytest.raises(SystemExit) as error:
        tool.main()
    assert words in str(error.value.code)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before
