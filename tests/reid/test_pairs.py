"""Noise that is shown, by FastReID's own command: what is written, scored, refused."""
import json
from pathlib import Path

import pytest
import torch
from fastreid.data.data_utils import read_image
from fastreid.data.transforms import build_transforms

from denoiserep_ext import PairConfig, denoise_pairs_
from denoiserep_ext.corruptions import parse
from denoiserep_ext.datasets.folders import images_below
from denoiserep_ext.reid import Trainer
from denoiserep_ext.reid.config import get_cfg, read_config, refuse_training, settings_of
from denoiserep_ext.reid.corrupt import corrupted_transforms
from denoiserep_ext.reid.train_net import run
from tests.reid.helpers import assert_same_state, load, reid_config, stock_model

DIGITS = Path(__file__).parents[2] / 'configs/fastreid/digits'
NOISE, PART = 'contrast@5', 'backbone.conv5'
SHOWN = ('MODEL.DENOISEREP.NOISE', 'corruption', 'MODEL.DENOISEREP.CORRUPTIONS', f"('{NOISE}',)",
         'MODEL.DENOISEREP.IMAGES', '60', 'MODEL.DENOISEREP.POSITIONS', '8',
         'MODEL.DENOISEREP.TARGET', PART)


@pytest.fixture(scope='module')
def config_file(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp('reid-shown')
    cfg = reid_config(folder / 'out', digits, 'TEST.IMS_PER_BATCH', 30)
    for name in ('NOISE', 'STEP_STRIDE', 'UPDATE', 'LOSS_TOKENS'):
        cfg.MODEL.DENOISEREP[name] = get_cfg().MODEL.DENOISEREP[name]
    (folder / 'config.yml').write_text(cfg.dump())
    return str(folder / 'config.yml')


@pytest.fixture
def one_pass(config_file, baseline, digits, tmp_path):
    """Run the command on the train images with more options; its exit status."""
    def call(*options, folder=digits / 'bounding_box_train', out=tmp_path / 'out'):
        return run(['--config-file', config_file, '--one-pass', str(folder),
                    'MODEL.WEIGHTS', baseline, 'OUTPUT_DIR', str(out), *SHOWN,
                    *options])
    return call


def test_written_file_is_plain_and_equals_the_core_by_hand(one_pass, tmp_path, digits, baseline):
    assert one_pass() == 0
    denoised = load(tmp_path / 'out/model_denoised.pth')
    assert denoised.keys() == {'model'}
    cfg = reid_config(tmp_path, digits)
    stock_model(cfg, tmp_path / 'out/model_denoised.pth')  # strictly

    model = stock_model(cfg, baseline)
    paths = images_below(digits / 'bounding_box_train')
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))[:60]
    pictures = [read_image(str(paths[i])) for i in order]
    clean, worse = (torch.stack(list(map(transform, pictures))).split(30) for transform in (
        build_transforms(cfg, is_train=False), corrupted_transforms(cfg, parse(NOISE))))
    report = denoise_pairs_(model, list(zip(clean, worse)), PairConfig(
        layers={PART: 'all'}, judge='cosine', positions=8), lambda m, x: m({'images': x.clone()}))
    assert report.accepted
    assert_same_state(denoised['model'], model.state_dict())
    start = load(baseline)['model']
    differs = {key for key in start if not torch.equal(start[key], denoised['model'][key])}
    assert differs and all(key.startswith(PART) for key in differs)

    data = json.loads((tmp_path / 'out/denoiserep_pairs.json').read_text())
    assert data['worse'] == [NOISE] and data['verdict']['kind'] == 'cosine'
    assert (tmp_path / 'out/denoiserep_pairs.png').is_file()


def test_written_file_is_evaluated_with_and_without_our_architecture(one_pass, tmp_path, digits,
                                                                    config_file, baseline):
    assert one_pass() == 0
    files = {'WEIGHTS': str(tmp_path / 'out/model_denoised.pth')}
    scores = {}
    for name, options in (('stock', ['MODEL.META_ARCHITECTURE', 'Baseline']), ('ours', SHOWN)):
        assert run(['--config-file', config_file, '--eval-only', 'MODEL.WEIGHTS', files['WEIGHTS'],
                    'OUTPUT_DIR', str(tmp_path / name), *options]) == 0
        scores[name] = json.loads((tmp_path / name / 'results.json').read_text())
    assert scores['ours'] == scores['stock']
    model = stock_model(reid_config(tmp_path, digits), tmp_path / 'out/model_denoised.pth')
    cfg = reid_config(tmp_path / 'here', digits, 'TEST.IMS_PER_BATCH', 30)
    assert scores['stock']['Market1501']['mAP'] == pytest.approx(Trainer.test(cfg, model)['mAP'])


def test_no_gain_writes_no_model_and_says_so(one_pass, tmp_path, monkeypatch):
    monkeypatch.setattr('denoiserep_ext.reid.corrupt.corrupt', lambda image, *_: image)
    assert one_pass() == 0
    assert not (tmp_path / 'out/model_denoised.pth').exists()
    assert 'No gain, no model written' in (tmp_path / 'out/log.txt').read_text()
    assert not json.loads((tmp_path / 'out/denoiserep_pairs.json').read_text())['denoised']


@pytest.mark.parametrize('options, words', [
    (('STRENGTH', '1.0'), 'MODEL.DENOISEREP: strength belongs to noise that is assumed'),
    (('STEP_STRIDE', '2'), 'step_stride belongs to noise that is assumed'),
    (('SOLVER', 'sgd'), 'solver belongs to noise that is assumed'),
    (('LOSS_WEIGHT', '1.0'), 'loss_weight belongs to noise that is assumed'),
    (('CORRUPTIONS', '()'), 'needs corruptions'),
    (('CORRUPTIONS', "('frog@3',)"), "Unknown corruption 'frog'"),
    (('CORRUPTIONS', "('fog',)", 'SEVERITY', '6'), 'fog has no severity 6'),
    (('FORM', 'kernel'), "Unknown form 'kernel'"),
    (('IMAGES', '0'), 'images must be an integer >= 1'),
    (('IMAGES', '4'), '4 images in batches of 30 are too few'),
    (('NOISE', 'unit'), "corruptions belongs to noise='corruption', not to 'unit'"),
])
def test_settings_that_do_not_fit_are_named_and_nothing_written(one_pass, tmp_path, capsys, options,
                                                                words):
    named = [f'MODEL.DENOISEREP.{x}' if i % 2 == 0 else x for i, x in enumerate(options)]
    assert one_pass(*named) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_damaged_images_are_named_and_nothing_written(one_pass, tmp_path, capsys):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(10):
        (folder / f'{number}.png').write_bytes(b'no image')
    assert one_pass(folder=folder) == 2
    assert f'{folder}/' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_it_is_not_trained(config_file, baseline, tmp_path, digits, capsys):
    out = ('MODEL.WEIGHTS', baseline, 'OUTPUT_DIR', str(tmp_path / 'out'))
    assert run(['--config-file', config_file, *SHOWN, *out]) == 2
    assert 'is fitted once to a trained model and never trained: give --one-pass FOLDER' in (
        capsys.readouterr().err)
    assert not (tmp_path / 'out').exists()
    cfg = reid_config(tmp_path / 'out', digits)
    for name in ('NOISE', 'STEP_STRIDE', 'UPDATE', 'LOSS_TOKENS'):
        cfg.MODEL.DENOISEREP[name] = get_cfg().MODEL.DENOISEREP[name]
    cfg.merge_from_list(list(SHOWN))
    with pytest.raises(ValueError, match='never trained'):
        Trainer(cfg)


def test_keys_become_settings(config_file):
    cfg = get_cfg()
    cfg.merge_from_list(['MODEL.DENOISEREP.NOISE', 'corruption', 'MODEL.DENOISEREP.CORRUPTIONS',
                         "['fog', 'noise', 'frost@1']", 'MODEL.DENOISEREP.SEVERITY', 2,
                         'MODEL.DENOISEREP.IMAGES', -1, 'MODEL.DENOISEREP.RIDGE', 0.1,
                         'MODEL.DENOISEREP.CLEAN_WEIGHT', 0.3, 'MODEL.DENOISEREP.SEED', 7])
    settings = settings_of(cfg)
    assert settings.shown.worse == ('fog@2', 'gaussian_noise@2', 'shot_noise@2', 'impulse_noise@2',
                                    'frost@1')
    assert settings.shown.images is None
    assert settings.shown.config == PairConfig(ridge=0.1, clean_weight=0.3, seed=7)
    assert settings.target == 'backbone' and settings_of(get_cfg()).shown is None


def test_shipped_config_is_read():
    cfg = read_config(DIGITS / 'osnet_x0-25_denoiserep-frozen-corruption.yml', ['MODEL.WEIGHTS', ''])
    assert settings_of(cfg).shown.worse == ('gaussian_noise@3', 'contrast@3', 'jpeg_compression@3')
    with pytest.raises(ValueError, match='never trained'):
        refuse_training(cfg)
