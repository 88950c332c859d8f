"""A resumed run goes on as if it had not been interrupted, with the options it was started with, or says
which one it has not."""
import pytest
import torch

from denoiserep_ext.core.files.plain import KEY
from tests.helpers import first_of
from tests.mm.helpers import RECIPES, STRONG, build, classifier_config, equal, ids, load, train, weights

SGD = dict(solver='sgd')
OWN = dict(solver='sgd', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))


@pytest.fixture(scope='module')
def started(tmp_path_factory, digits, baseline):
    """Path of a run's first checkpoint, by the hook's options."""
    cache = {}

    def path(hook):
        key = repr(hook)
        if key not in cache:
            folder = tmp_path_factory.mktemp('started')
            cfg = classifier_config(folder, digits, epochs=1, load_from=baseline(), hook=hook)
            train(cfg)
            cache[key] = folder / 'kept.pt'
            (folder / 'epoch_1.pth').rename(cache[key])
        return str(cache[key])

    return path


@pytest.mark.parametrize('hook', first_of(RECIPES, 3), ids=ids)
@pytest.mark.parametrize('ema', [False, True])
def test_resumed_run_equals_uninterrupted_run(tmp_path, digits, baseline, hook, ema):
    def config(name, **more):
        cfg = classifier_config(tmp_path / name, digits, backbone='resnet', epochs=4,
                                hook={'interval': 3, **hook, **STRONG}, **more)
        if ema:
            cfg.custom_hooks.append(dict(type='EMAHook'))
        return cfg

    train(config('whole', load_from=baseline('resnet')))
    resumed = train(config('resumed', resume=True, load_from=str(tmp_path / 'whole/epoch_2.pth')))
    assert resumed.epoch == 4
    whole, again = load(tmp_path / 'whole/epoch_4.pth'), load(tmp_path / 'resumed/epoch_4.pth')
    assert equal(whole['state_dict'], again['state_dict'])
    assert equal(whole['denoiserep']['raw'], again['denoiserep']['raw'])
    assert whole['denoiserep']['figures'] == again['denoiserep']['figures']


@pytest.mark.parametrize('hook, saved, every', [
    (dict(recipe='alternate', period=3, interval=2), 4, 1),
    # Solving after 1, 2, 4 and 8 iterations brings on a fold, too: that of the save is another one.
    (dict(fold_interval=4, interval=100, **STRONG), 5, 5)], ids=['block', 'fold'])
def test_save_and_resume_in_the_middle_of_iterations_that_belong_together(tmp_path, digits, baseline,
                                                                          hook, saved, every):
    def config(name, **more):
        cfg = classifier_config(tmp_path / name, digits, backbone='resnet', hook=hook, **more)
        cfg.train_cfg = dict(by_epoch=False, max_iters=2 * saved, val_interval=saved)
        cfg.param_scheduler = dict(type='PolyLR', by_epoch=False, begin=0, end=2 * saved)
        cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=every)
        return cfg

    train(config('whole', load_from=baseline('resnet')))
    train(config('resumed', resume=True, load_from=str(tmp_path / f'whole/iter_{saved}.pth')))
    for k in range(saved + every, 2 * saved + 1, every):
        assert equal(weights(tmp_path / f'whole/iter_{k}.pth'),
                     weights(tmp_path / f'resumed/iter_{k}.pth'))


def test_resuming_a_plain_run_is_allowed_and_said(tmp_path, digits, baseline):
    train(classifier_config(tmp_path / 'plain', digits, epochs=1))
    cfg = classifier_config(tmp_path / 'ours', digits, epochs=2, hook={}, resume=True,
                            load_from=str(tmp_path / 'plain/epoch_1.pth'))
    runner = train(cfg)
    assert runner.epoch == 2 and 'holds no DenoiseRep state' in next(
        (tmp_path / 'ours').glob('*/*.log')).read_text()


@pytest.mark.parametrize('change, message', [
    (dict(layers=r'layers\.0\..*fc.*|layers\.0\.ffn.*'), 'another selection of layers'),
    (dict(step_stride=2), 'step_stride is 2 here and 1 in the checkpoint'),
    (dict(recipe='frozen'), "recipe is 'frozen' here and 'joint'"),
])
def test_resuming_with_other_options_is_refused(tmp_path, digits, baseline, change, message):
    train(classifier_config(tmp_path / 'a', digits, epochs=1, load_from=baseline(), hook={}))
    cfg = classifier_config(tmp_path / 'b', digits, epochs=2, hook=change, resume=True,
                            load_from=str(tmp_path / 'a/epoch_1.pth'))
    with pytest.raises(ValueError, match=message):
        train(cfg)


@pytest.mark.parametrize('before, now, message', [
    ({}, dict(interval=50), 'interval is 50 here and 100 in the checkpoint'),
    ({}, dict(decay=0.5), 'decay is 0.5 here and 0.9 in the checkpoint'),
    ({}, dict(moment_tokens=None), 'moment_tokens is None here and 256 in the checkpoint'),
    ({}, dict(moment_interval=2), 'moment_interval is 2 here and None in the checkpoint'),
    ({}, dict(recipe='frozen'), "recipe is 'frozen' here and 'joint' in the checkpoint"),
    (SGD, dict(SGD, lr_mult=4.0), 'lr_mult is 4.0 here and 1.0 in the checkpoint'),
    (SGD, dict(SGD, loss_weight=0.1), 'loss_weight is 0.1 here and 0.01 in the checkpoint'),
    (SGD, OWN, "type of the predictors' optimizer is 'SGD' here and 'AdamW' in the checkpoint"),
    (OWN, dict(OWN, optimizer=dict(OWN['optimizer'], lr=0.2)),
     "lr of the predictors' optimizer is 0.2 here and 0.1 in the checkpoint"),
    (OWN, dict(OWN, optimizer=dict(OWN['optimizer'], momentum=0.5)),
     "momentum of the predictors' optimizer is 0.5 here and 0.9 in the checkpoint"),
], ids=lambda value: None if isinstance(value, str) else '-'.join(value))
def test_another_option_is_named_with_its_value_here_and_there(
        tmp_path, digits, started, before, now, message):
    cfg = classifier_config(tmp_path, digits, hook=now, resume=True, load_from=started(before))
    with pytest.raises(ValueError, match=f'Cannot resume: {message}'):
        train(cfg)
    assert not list(tmp_path.glob('*.pth'))


def test_the_same_options_resume_and_are_saved_plain(tmp_path, digits, started):
    path = started(OWN)
    torch.save(load(path)[KEY], tmp_path / 'state.pt')
    state = torch.load(tmp_path / 'state.pt', weights_only=True)
    assert state['optimizer']['lr'] == 0.1 and state['options']['interval'] == 100
    assert train(classifier_config(tmp_path, digits, hook=OWN, resume=True, load_from=path)).epoch == 2


def test_another_optimiser_of_the_host_is_named(tmp_path, digits, started):
    """The predictors' optimiser is of the host's type, and its state is not another type's."""
    cfg = classifier_config(tmp_path, digits, hook=SGD, resume=True, load_from=started(SGD))
    cfg.optim_wrapper.optimizer = dict(type='SGD', lr=1e-2, momentum=0.9)
    with pytest.raises(ValueError, match="type of the predictors' optimizer is 'SGD' here and 'AdamW'"):
        train(cfg)


def test_a_runner_resumed_by_hand_before_conversion_is_refused(tmp_path, digits, started):
    runner = build(classifier_config(tmp_path, digits, hook={}))
    runner.resume(started({}))
    with pytest.raises(ValueError, match='set load_from and resume=True in the config'):
        runner.train()


def test_weights_loaded_by_hand_before_training_are_where_it_starts(tmp_path, digits, started):
    runner = build(classifier_config(tmp_path, digits, hook={}))
    runner.load_checkpoint(started({}))
    runner.train()
    assert runner.epoch == 2


def test_a_flexible_runner_is_refused_by_name(tmp_path, digits, started):
    from mmengine.runner import FlexibleRunner
    cfg = classifier_config(tmp_path, digits, hook={}, resume=True, load_from=started({}))
    cfg.strategy = dict(type='SingleDeviceStrategy')
    cfg.env_cfg = dict(dist_cfg=dict(backend='gloo'))
    cfg.experiment_name = tmp_path.name
    with pytest.raises(TypeError, match='not with FlexibleRunner.*remove runner_type from the config'):
        FlexibleRunner.from_cfg(cfg).train()
