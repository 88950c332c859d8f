"""One hook in several runners, several trainings of one runner, and hosts that are refused."""
import pytest
import torch
from mmengine.hooks import Hook

from denoiserep_ext import DenoiseRepHook
from denoiserep_ext.core.files.plain import KEY
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import first_of
from tests.mm.helpers import build, classifier_config, equal, load, train, weights

STRONG = dict(update='posterior', step_stride=10, noise='relative')
SOLVERS = ['one_pass', 'sgd']


def train_with(hook, cfg, model=None):
    runner = build(cfg)
    runner.model = runner.model if model is None else model
    runner.register_hook(hook)
    runner.train()
    return runner


@pytest.mark.parametrize('solver', SOLVERS)
def test_a_hook_serves_one_runner_after_the_other(tmp_path, digits, baseline, solver):
    hook = DenoiseRepHook(solver=solver, **STRONG)
    files = []
    for name in ('first', 'second'):
        runner = train_with(hook, classifier_config(tmp_path / name, digits, epochs=1,
                                                    load_from=baseline()))
        assert len(list(denoise_layers(runner.model))) == 4
        files.append(load(tmp_path / name / 'epoch_1.pth'))
    first, second = files
    assert equal(first['state_dict'], second['state_dict'])
    assert first[KEY]['learned'] == second[KEY]['learned'] == 4


@pytest.mark.parametrize('solver', SOLVERS)
def test_a_second_runner_of_the_same_model_observes_once(tmp_path, digits, baseline, solver):
    hook = DenoiseRepHook(solver=solver, **STRONG)
    first = train_with(hook, classifier_config(tmp_path / 'first', digits, epochs=1,
                                               load_from=baseline()))
    observers = {name: len(layer.observers) for name, layer in denoise_layers(first.model)}
    second = train_with(hook, classifier_config(tmp_path / 'second', digits, epochs=1), first.model)
    assert observers == {name: len(layer.observers) for name, layer in denoise_layers(second.model)}
    # The first runner still saves its own state, and once fused.
    first.save_checkpoint(str(tmp_path), 'again.pth')
    assert load(tmp_path / 'again.pth').keys() >= {'state_dict', KEY}


def test_a_runner_goes_on_after_its_hook_has_served_another(tmp_path, digits, baseline):
    hook = DenoiseRepHook(**STRONG)
    first = train_with(hook, classifier_config(tmp_path / 'first', digits, epochs=1,
                                               load_from=baseline()))
    train_with(hook, classifier_config(tmp_path / 'second', digits, epochs=1, load_from=baseline()))
    first.train_loop._max_epochs = 2
    first.train()
    live = first.message_hub.get_scalar('val/accuracy/top1').current()
    stock = build(classifier_config(tmp_path / 'stock', digits,
                                    load_from=str(tmp_path / 'first/epoch_2.pth')))
    assert stock.test()['accuracy/top1'] == live


@pytest.mark.parametrize('solver', SOLVERS)
def test_training_twice_with_one_runner_is_one_longer_training(tmp_path, digits, baseline, solver):
    hook = dict(STRONG, solver=solver, interval=3, noise='unit')

    def config(name, epochs):
        cfg = classifier_config(tmp_path / name, digits, epochs=epochs, load_from=baseline(), hook=hook,
                                param_scheduler=None)
        cfg.model.backbone.drop_rate = 0.0
        return cfg

    train(config('whole', 2))
    runner = train(config('twice', 1))
    observers = {name: len(layer.observers) for name, layer in denoise_layers(runner.model)}
    runner.train_loop._max_epochs, runner.train_loop._max_iters = 2, 8
    runner.train()
    assert observers == {name: len(layer.observers) for name, layer in denoise_layers(runner.model)}
    whole, twice = (load(tmp_path / name / 'epoch_2.pth') for name in ('whole', 'twice'))
    assert whole[KEY]['learned'] == twice[KEY]['learned'] == 8
    assert all(moments['calls'] == 8 for moments in twice[KEY]['moments'].values())
    if solver == 'sgd':  # a one-pass run solves once more, at the end of the first training
        assert equal(whole['state_dict'], twice['state_dict'])


class SavesBeforeTheFirstIteration(Hook):
    def before_train_epoch(self, runner):
        if runner.iter == 0:
            runner.save_checkpoint(runner.work_dir, 'start.pth')


def test_a_checkpoint_saved_before_the_first_iteration_resumes(tmp_path, digits, baseline):
    runner = build(classifier_config(tmp_path / 'whole', digits, hook=STRONG, load_from=baseline()))
    runner.register_hook(SavesBeforeTheFirstIteration())
    runner.train()
    start = tmp_path / 'whole/start.pth'
    assert load(start)[KEY]['phase'] is None and equal(weights(start), weights(baseline()))
    resumed = train(classifier_config(tmp_path / 'resumed', digits, hook=STRONG, resume=True,
                                      load_from=str(start)))
    assert resumed.epoch == 2
    assert load(tmp_path / 'resumed/epoch_2.pth')[KEY]['phase'] == 'joint'


def test_several_optimizers_are_refused_by_name(tmp_path, digits):
    one = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    cfg = classifier_config(tmp_path, digits, hook={}, param_scheduler=None)
    runner = build(cfg)
    from mmengine.optim import OptimWrapperDict, build_optim_wrapper
    runner.optim_wrapper = OptimWrapperDict(backbone=build_optim_wrapper(runner.model.backbone, one),
                                            head=build_optim_wrapper(runner.model.head, one))
    with pytest.raises(TypeError, match='needs one optimizer.*not OptimWrapperDict.*a single one'):
        runner.train()
    assert not list(denoise_layers(runner.model))


@pytest.mark.parametrize('hook, message', [
    (dict(lr_mult=2.0), "lr_mult belongs to solver='sgd', not to 'one_pass'"),
    (dict(lr_mult=1.0), "lr_mult belongs to solver='sgd'"),  # given, if only as the default
    (dict(loss_weight=0.01), "loss_weight belongs to solver='sgd'"),
    (dict(optimizer=dict(type='SGD', lr=0.1)), "optimizer belongs to solver='sgd'"),
    (dict(solver='sgd', loss_weight=-1), 'loss_weight must be a finite number > 0, got -1'),
    (dict(solver='sgd', lr_mult=0), 'lr_mult must be a finite number > 0, got 0'),
    (dict(solver='sgd', lr_mult='4'), "lr_mult must be a finite number > 0, got '4'"),
    (dict(solver='sgd', lr_mult=2.0, optimizer=dict(type='SGD', lr=0.1)), 'give one of the two'),
    (dict(solver='sgd', optimizer=dict(lr=0.1)), 'optimizer must be a dict with a type'),
    (dict(solver='sgd', optimizer='SGD'), 'optimizer must be a dict with a type'),
])
def test_options_of_sgd_are_refused_where_they_do_nothing_or_harm(tmp_path, digits, hook, message):
    with pytest.raises(ValueError, match=message):
        train(classifier_config(tmp_path, digits, hook=hook))
    assert not list(tmp_path.glob('*.pth'))


def test_the_solver_of_a_backbone_built_converted_is_the_one_that_counts(tmp_path, digits, baseline):
    cfg = classifier_config(tmp_path, digits, epochs=1, load_from=baseline(), hook=dict(lr_mult=3.0))
    cfg.model.backbone = dict(type='denoiserep_ext.DenoiseRepBackbone', backbone=cfg.model.backbone,
                              solver='sgd')
    runner = train(cfg)
    hook = next(h for h in runner.hooks if isinstance(h, DenoiseRepHook))
    host = runner.optim_wrapper.optimizer.defaults['lr']
    assert hook.learner.sgd.optimizer.defaults['lr'] == pytest.approx(3 * host)
    cfg.model.backbone.solver = 'one_pass'
    cfg.custom_hooks[0].solver = 'sgd'
    with pytest.raises(ValueError, match="lr_mult belongs to solver='sgd', not to 'one_pass'"):
        train(cfg)


@pytest.mark.parametrize('solver', first_of(['sgd', 'one_pass']))
def test_a_compiled_runner_trains_what_an_eager_one_does(tmp_path, digits, baseline, solver):
    for name, more in (('eager', {}), ('compiled', dict(compile=dict(backend='aot_eager')))):
        cfg = classifier_config(tmp_path / name, digits, epochs=1, load_from=baseline(),
                                hook=dict(solver=solver, **STRONG), **more)
        cfg.model.backbone.drop_rate = 0.0
        # The keys' biases have no gradient: Adam would turn its rounding errors into steps.
        cfg.optim_wrapper.optimizer = dict(type='SGD', lr=0.1)
        train(cfg)
        torch._dynamo.reset()
    eager, compiled = (load(tmp_path / name / 'epoch_1.pth') for name in ('eager', 'compiled'))
    for key, value in eager['state_dict'].items():
        torch.testing.assert_close(compiled['state_dict'][key], value, rtol=1e-3, atol=1e-4)
    assert eager[KEY]['learned'] == compiled[KEY]['learned'] == 4
    calls = [[m['calls'] for m in file[KEY]['moments'].values()] for file in (eager, compiled)]
    assert calls[0] == calls[1]


def test_what_configs_name_is_imported_by_that_name():
    import denoiserep_ext
    from denoiserep_ext import mm
    for name in ('DenoiseRepHook', 'DenoiseRepBackbone', 'BIoUMetric'):
        assert getattr(denoiserep_ext, name) is getattr(mm, name)
