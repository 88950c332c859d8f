"""Noise that is shown, in the real Runner: what is written, scored, refused, resumed."""
import copy
import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from mmengine.runner import TestLoop

from denoiserep_ext import DenoiseRepHook, PairConfig, denoise_pairs_
from denoiserep_ext.core.files.plain import KEY
from denoiserep_ext.mm.host import check_ends_early
from denoiserep_ext.mm.models import build_model
from denoiserep_ext.mm.pair_hook import PairHook
from tests.mm.dense import dense_config
from tests.mm.helpers import HOOK, build, classifier_config, equal, load, train, weights

NOISE = 'contrast@5'
PART = 'backbone.layer4'
SHOWN = dict(recipe='frozen', noise='corruption', corruptions=[NOISE], target=PART, images=48,
             positions=8)


def config(work_dir, digits, start, **overrides):
    """A run that denoises, its images in batches of 32."""
    cfg = classifier_config(work_dir, digits, backbone='resnet', hook=SHOWN, load_from=start,
                            **overrides)
    cfg.test_dataloader.batch_size = 32
    return cfg


@pytest.fixture(scope='module')
def done(tmp_path_factory, digits, baseline):
    """Work directory and runner of one run."""
    folder = tmp_path_factory.mktemp('shown') / 'run'
    return folder, train(config(folder, digits, baseline('resnet')))


def changed(new, old):
    return {key for key in new if not torch.equal(new[key], old[key])}


def val_accuracy(runner):
    return runner.message_hub.get_scalar('val/accuracy/top1').current()


def test_checkpoint_is_plain_denoised_and_named_by_the_host(done, baseline):
    folder, runner = done
    assert sorted(path.name for path in folder.glob('*.pth')) == ['epoch_0.pth']
    assert (folder / 'last_checkpoint').read_text() == str(folder / 'epoch_0.pth')
    checkpoint = load(folder / 'epoch_0.pth')
    assert KEY not in checkpoint and checkpoint['meta']['epoch'] == 0
    state, start = checkpoint['state_dict'], weights(baseline('resnet'))
    assert list(state) == list(start)
    assert changed(state, start)
    assert all(key.startswith(PART) for key in changed(state, start))
    assert runner.iter == 0 and runner.epoch == 0


def test_stock_config_scores_the_file_as_the_run_did(done, tmp_path, digits):
    folder, runner = done
    stock = classifier_config(tmp_path / 'stock', digits, backbone='resnet',
                              load_from=str(folder / 'epoch_0.pth'))
    build_model(stock).load_state_dict(weights(folder / 'epoch_0.pth'), strict=True)
    assert build(stock).test()['accuracy/top1'] == val_accuracy(runner)
    assert len(runner.message_hub.get_scalar('val/accuracy/top1').data[0]) == 1


def test_run_equals_the_core_by_hand(done, digits, baseline):
    """The same 48 images, read here by a pipeline that is written out."""
    folder, _ = done
    cfg = classifier_config(folder, digits, backbone='resnet')
    model = build_model(cfg)
    model.load_state_dict(weights(baseline('resnet')))
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))[:48].split(32)
    pipeline = cfg.test_dataloader.dataset.pipeline
    worse = [pipeline[0], dict(type='denoiserep_ext.Corrupt', corruption=NOISE), *pipeline[1:]]
    clean, worse = (DATASETS.build({**cfg.train_dataloader.dataset, 'pipeline': transforms})
                    for transforms in (pipeline, worse))

    def batch(images, indices):
        samples = pseudo_collate([images[i] for i in indices.tolist()])
        return model.data_preprocessor(samples, False)['inputs']

    report = denoise_pairs_(model, [(batch(clean, i), batch(worse, i)) for i in order],
                            PairConfig(layers={PART: 'all'}, positions=8, judge='js'))
    assert report.accepted
    assert equal(model.state_dict(), weights(folder / 'epoch_0.pth'))


def test_report_is_saved_as_figures_and_picture(done):
    folder, _ = done
    data = json.loads((folder / 'denoiserep_pairs.json').read_text())
    assert data['worse'] == [NOISE] and data['denoised'] and data['verdict']['kind'] == 'js'
    assert data['config']['positions'] == 8 and 24 < data['images'] < 48
    assert (folder / 'denoiserep_pairs.png').read_bytes().startswith(b'\x89PNG')


def test_log_has_the_table_and_says_that_nothing_is_left_to_train(tmp_path, digits, baseline):
    train(config(tmp_path / 'run', digits, baseline('resnet'), log_level='INFO'))
    log, = (tmp_path / 'run').glob('*/*.log')
    log = log.read_text()
    assert f'worse images: 1: {NOISE}' in log and 'layers denoised on' in log
    assert 'nothing is left to train. Plain weights: ' in log


def test_iteration_based_runs_end_at_once_and_save_the_best(tmp_path, digits, baseline):
    cfg = config(tmp_path / 'run', digits, baseline('resnet'),
                 train_cfg=dict(by_epoch=False, max_iters=5, val_interval=5),
                 param_scheduler=None)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=1,
                                        save_best='auto')
    runner = train(cfg)
    assert runner.iter == 0
    names = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert names == {'iter_0.pth', 'best_accuracy_top1_iter_0.pth'}
    best = weights(tmp_path / 'run/best_accuracy_top1_iter_0.pth')
    assert equal(best, weights(tmp_path / 'run/iter_0.pth'))
    assert changed(best, weights(baseline('resnet')))


def test_ema_copy_holds_the_denoised_weights(done, tmp_path, digits, baseline):
    cfg = config(tmp_path / 'ema', digits, baseline('resnet'))
    cfg.custom_hooks.append(dict(type='EMAHook'))
    runner = train(cfg)
    checkpoint = load(tmp_path / 'ema/epoch_0.pth')
    expected = weights(done[0] / 'epoch_0.pth')
    assert equal(checkpoint['state_dict'], expected)
    ema = {key.removeprefix('module.'): value for key, value in checkpoint['ema_state_dict'].items()}
    assert equal({key: ema[key] for key in expected}, expected)
    assert val_accuracy(runner) == val_accuracy(done[1])


def test_resumed_run_does_nothing_more(done, tmp_path, digits):
    file = done[0] / 'epoch_0.pth'
    runner = train(config(tmp_path / 'again', digits, str(file), resume=True))
    assert runner.iter == 0 and not list((tmp_path / 'again').glob('*.pth'))
    assert equal(runner.model.state_dict(), weights(file))
    assert not (tmp_path / 'again/denoiserep_pairs.json').exists()


def test_checkpoint_of_another_run_is_not_resumed(tmp_path, digits, baseline):
    with pytest.raises(ValueError, match='give it as load_from, without resume'):
        train(config(tmp_path / 'run', digits, baseline('resnet'), resume=True))


def test_no_gain_leaves_the_weights_and_says_so(tmp_path, digits, baseline, monkeypatch):
    monkeypatch.setattr('denoiserep_ext.mm.corrupt.corrupt', lambda image, *_: image)
    train(config(tmp_path / 'run', digits, baseline('resnet')))
    assert equal(weights(tmp_path / 'run/epoch_0.pth'), weights(baseline('resnet')))
    assert not json.loads((tmp_path / 'run/denoiserep_pairs.json').read_text())['denoised']
    log, = (tmp_path / 'run').glob('*/*.log')
    assert 'no gain, the weights stay as they were loaded' in log.read_text()


def test_run_without_checkpoint_hook_or_validation_says_so(tmp_path, digits, baseline):
    cfg = config(tmp_path / 'run', digits, baseline('resnet'))
    cfg.default_hooks.checkpoint = None
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        cfg[key] = None
    runner = train(cfg)
    assert changed(runner.model.state_dict(), weights(baseline('resnet')))
    log, = (tmp_path / 'run').glob('*/*.log')
    assert 'the config has no CheckpointHook' in log.read_text()


@pytest.mark.parametrize('kind, file', [('detector', 'epoch_0.pth'), ('segmentor', 'iter_0.pth')])
def test_detectors_and_segmentors_are_denoised(tmp_path, scenes, dense_baseline, kind, file):
    part = {'detector': PART, 'segmentor': 'backbone.layers.3'}[kind]
    hook = {**SHOWN, 'images': 16, 'corruptions': ['gaussian_noise@5', NOISE], 'held_out': 0.0,
            'target': part}
    cfg = dense_config(kind, tmp_path / 'run', scenes, hook=hook, load_from=dense_baseline(kind))
    runner = train(cfg)
    data = json.loads((tmp_path / 'run/denoiserep_pairs.json').read_text())
    assert data['config']['judge'] == {'detector': 'feature', 'segmentor': 'js'}[kind]
    assert data['denoised'] and data['images'] == 16 and data['verdict'] is None
    state, start = weights(tmp_path / 'run' / file), weights(dense_baseline(kind))
    assert list(state) == list(start)
    assert changed(state, start) and all(key.startswith(part) for key in changed(state, start))
    assert equal(state, runner.model.state_dict())


@pytest.mark.parametrize('options, words', [
    (dict(recipe='joint'), "set recipe='frozen', not 'joint'"),
    (dict(recipe='alternate'), "set recipe='frozen', not 'alternate'"),
    (dict(solver='sgd'), 'solver belongs to noise that is assumed'),
    (dict(strength=1.0), 'strength belongs to noise that is assumed'),
    (dict(steps=[1, 2]), 'steps belongs to noise that is assumed'),
    (dict(period=3), 'period belongs to noise that is assumed'),
    (dict(interval=3), 'interval belongs to noise that is assumed'),
    (dict(judge='cosine'), "Unknown option 'judge'"),
    (dict(corrupted=['fog']), "Unknown option 'corrupted'"),
    (dict(corruptions=[]), 'needs corruptions'),
    (dict(corruptions='fog@3'), 'needs corruptions, a list'),
    (dict(corruptions=3), 'needs corruptions, a list'),
    (dict(corruptions=['frog@3']), "Unknown corruption 'frog'"),
    (dict(corruptions=['fog@6']), 'fog has no severity 6'),
    (dict(corruptions=['fog'], severity=0), 'fog has no severity 0'),
    (dict(images=0), 'images must be an integer >= 1'),
    (dict(form='kernel'), "Unknown form 'kernel'"),
    (dict(damping=0), 'damping must be a number in'),
    (dict(target=3), 'target must be'),
])
def test_options_that_do_not_fit_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        DenoiseRepHook(**{**SHOWN, **options})


@pytest.mark.parametrize('option', [dict(corruptions=['fog']), dict(severity=3), dict(images=8),
                                    dict(clean_weight=1.0), dict(ridge=0.1), dict(held_out=0.1)])
@pytest.mark.parametrize('noise', ['unit', 'relative'])
def test_other_noise_has_no_use_for_them(option, noise):
    with pytest.raises(ValueError, match=f"{next(iter(option))} belongs to noise='corruption', not to "
                                         f"'{noise}'"):
        DenoiseRepHook(noise=noise, **option)


def test_hook_of_the_usual_name_is_the_one_for_the_noise():
    hook = DenoiseRepHook(**{**SHOWN, 'corruptions': ['noise', 'fog@1'], 'severity': 2})
    assert type(hook) is PairHook and hook.selected == {PART: 'all'}
    assert hook.shown.worse == ('gaussian_noise@2', 'shot_noise@2', 'impulse_noise@2', 'fog@1')
    hook = DenoiseRepHook(**{**SHOWN, 'target': None})
    assert hook.selected == {'backbone': 'all'} and hook.shown.worse == (NOISE, )
    hook = DenoiseRepHook(**{**SHOWN, 'target': None}, layers={'backbone': 'auto', 'neck': 'all'})
    assert hook.selected == {'backbone': 'auto', 'neck': 'all'}
    assert type(DenoiseRepHook()) is DenoiseRepHook


def _two_hooks(cfg):
    cfg.custom_hooks.append(dict(type=HOOK))


def _two_of_a_kind(cfg):
    cfg.custom_hooks.append(copy.deepcopy(cfg.custom_hooks[0]))


def _converted(cfg):
    cfg.model.backbone = dict(type='denoiserep_ext.DenoiseRepBackbone', backbone=cfg.model.backbone)


def _too_few(cfg):
    cfg.custom_hooks[0].images = 4


def _missing_layer(cfg):
    cfg.custom_hooks[0].layers = ['nothing']


def _no_test_data(cfg):
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        cfg[key] = None


def _small_images(cfg):
    cfg.custom_hooks[0].corruptions = ['glass_blur@3']


@pytest.mark.parametrize('spoil, error, words', [
    (_two_hooks, ValueError, "One DenoiseRepHook has noise='corruption'"),
    (_two_of_a_kind, ValueError, 'There are 2 DenoiseRepHooks.* keep one of them'),
    (_converted, ValueError, 'configure the plain backbone'),
    (_too_few, ValueError, '4 images in batches of 32 are too few .* needs 5 at least'),
    (_missing_layer, ValueError, "no Linear or Conv2d has the name .* 'nothing'"),
    (_no_test_data, ValueError, 'there is no test_dataloader'),
    (_small_images, ValueError, 'png: glass_blur needs images of at least'),
])
def test_what_stands_in_the_way_is_named_and_nothing_written(tmp_path, digits, baseline, spoil, error,
                                                              words):
    cfg = config(tmp_path / 'run', digits, baseline('resnet'))
    spoil(cfg)
    with pytest.raises(error, match=words):
        train(Config(cfg.to_dict()))
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_train_loop_of_another_kind_is_refused():
    with pytest.raises(TypeError, match='cannot end a TestLoop: set train_cfg to an Epoch'):
        check_ends_early(SimpleNamespace(_train_loop=object.__new__(TestLoop)))
