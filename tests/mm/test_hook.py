"""DenoiseRepHook in a real Runner."""
import json
import math
from contextlib import contextmanager

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from torch import nn

from denoiserep_ext import fused_state_dict, unconvert_
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import first_of
from tests.mm.helpers import (
    HOOK,
    RECIPES,
    STRONG,
    build,
    classifier_config,
    equal,
    ids,
    load,
    train,
    weights,
)


@HOOKS.register_module(force=True)
class Spy(Hook):
    """Calls back at given points of a run."""

    priority = 'LOWEST'

    def __init__(self, **callbacks):
        self.callbacks = callbacks

    def _call(self, name, runner):
        if name in self.callbacks:
            self.callbacks[name](runner)

    def before_train_epoch(self, runner):
        self._call('before_train_epoch', runner)

    def after_train_epoch(self, runner):
        self._call('after_train_epoch', runner)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self._call('before_val_iter', runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._call('after_train_iter', runner)


@OPTIM_WRAPPERS.register_module(force=True)
class CpuAmpOptimWrapper(OptimWrapper):
    """Mixed precision where mmengine offers it on accelerators only."""

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


def run_with_spy(cfg, **callbacks):
    runner = build(cfg)
    runner.register_hook(Spy(**callbacks))
    runner.train()
    return runner


@pytest.mark.parametrize('backbone', ['vit', 'resnet'])
@pytest.mark.parametrize('hook', first_of(RECIPES, 3), ids=ids)
def test_checkpoints_are_plain_and_score_what_the_live_model_scored(
        tmp_path, digits, baseline, backbone, hook):
    """Stock config, fused file: the same metric to the last digit."""
    cfg = classifier_config(tmp_path / 'run', digits, backbone=backbone, load_from=baseline(backbone),
                            hook={**hook, **STRONG})
    runner = train(cfg)
    live = runner.message_hub.get_scalar('val/accuracy/top1').current()
    stock = build(classifier_config(tmp_path / 'stock', digits, backbone=backbone,
                                    load_from=str(tmp_path / 'run/epoch_2.pth')))
    assert stock.test()['accuracy/top1'] == live
    saved = weights(tmp_path / 'run/epoch_2.pth')
    plain = weights(baseline(backbone))
    assert {k: v.shape for k, v in saved.items()} == {k: v.shape for k, v in plain.items()}
    stock.model.load_state_dict(saved, strict=True)
    # The denoising is really in there: it is not what the raw weights say.
    assert not equal(saved, unconvert_(runner.model).state_dict())


@pytest.mark.parametrize('backbone', ['vit', 'resnet'])
@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_frozen_moves_nothing_but_predictors(tmp_path, digits, baseline, backbone, solver):
    cfg = classifier_config(tmp_path, digits, backbone=backbone, load_from=baseline(backbone),
                            hook=dict(recipe='frozen', solver=solver))
    cfg.optim_wrapper.optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1)
    runner = train(cfg)
    start = weights(baseline(backbone))
    assert not runner.optim_wrapper.optimizer.state, 'no momentum was built up'
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(runner.model))
    assert not equal(weights(tmp_path / 'epoch_2.pth'), start)
    unconvert_(runner.model)
    assert equal(runner.model.state_dict(), start)


@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_alternate_trains_one_side_at_a_time(tmp_path, digits, baseline, solver):
    snapshots = []

    def snapshot(runner):
        state = {k: v.clone() for k, v in runner.model.state_dict().items()}
        snapshots.append(({k: v for k, v in state.items() if 'denoiser' in k},
                          {k: v for k, v in state.items() if 'denoiser' not in k}))

    cfg = classifier_config(tmp_path, digits, backbone='resnet', load_from=baseline('resnet'),
                            epochs=4, hook=dict(recipe='alternate', period=1, solver=solver))
    run_with_spy(cfg, before_train_epoch=snapshot, after_train_epoch=snapshot)
    for epoch, (before, after) in enumerate(zip(snapshots[::2], snapshots[1::2])):
        predictors_moved, host_moved = (not equal(a, b) for a, b in zip(before, after))
        assert (predictors_moved, host_moved) == ((True, False), (False, True))[epoch % 2]


def with_generators(cfg):
    """The config of a run without DenoiseRep, with what DenoiseRepHook does to the random generators."""
    cfg.custom_hooks = [dict(type='denoiserep_ext.Generators')]
    return cfg


def test_control_and_joint_at_zero_strength_are_the_same_run(tmp_path, digits, baseline):
    """The hook itself changes nothing: no random draws, no order, no learning rate. In the control, too,
    validation leaves the generators of training alone, as in ``tools/compare.py``."""
    common = dict(load_from=baseline())
    train(with_generators(classifier_config(tmp_path / 'control', digits, **common)))
    train(classifier_config(tmp_path / 'zero', digits, hook=dict(step_stride=0), **common))
    assert equal(weights(tmp_path / 'control/epoch_2.pth'), weights(tmp_path / 'zero/epoch_2.pth'))


def test_validation_uses_the_weights_that_are_saved(tmp_path, digits, baseline):
    held = []

    def look(runner):
        state = {}
        for name, layer in denoise_layers(runner.model):
            state[f'{name}.weight'] = layer.held[0].clone()
        held.append(state)

    cfg = classifier_config(tmp_path, digits, load_from=baseline(), hook=STRONG)
    runner = run_with_spy(cfg, before_val_iter=look)
    for epoch, state in enumerate(held, 1):
        saved = weights(tmp_path / f'epoch_{epoch}.pth')
        assert state and all(torch.equal(saved[k], v) for k, v in state.items())
    assert all(layer.held is None for _, layer in denoise_layers(runner.model))


@pytest.mark.parametrize('ema_first', [True, False])
@pytest.mark.parametrize('update_buffers', [True, False])
@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_ema_in_both_orders(tmp_path, digits, baseline, ema_first, update_buffers, solver):
    hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.3,
                  update_buffers=update_buffers),
             dict(type=HOOK, solver=solver, **STRONG)]
    cfg = classifier_config(tmp_path, digits, backbone='resnet', load_from=baseline('resnet'))
    cfg.custom_hooks = hooks if ema_first else hooks[::-1]
    runner = train(cfg)
    ema = next(h for h in runner.hooks if type(h).__name__ == 'EMAHook').ema_model.module
    saved = load(tmp_path / 'epoch_2.pth')
    expected = fused_state_dict(runner.model, ema.state_dict())
    assert equal(saved['state_dict'], expected)
    assert not equal(saved['state_dict'], fused_state_dict(runner.model))
    stock = build(classifier_config(tmp_path / 'stock', digits, backbone='resnet',
                                    load_from=str(tmp_path / 'epoch_2.pth')))
    live = runner.message_hub.get_scalar('val/accuracy/top1').current()
    assert stock.test()['accuracy/top1'] == live


def test_ema_that_copied_too_early_is_refused(tmp_path, digits):
    cfg = classifier_config(tmp_path, digits, hook={})
    cfg.custom_hooks.insert(0, dict(type='EMAHook', priority='HIGHEST'))
    with pytest.raises(ValueError, match='EMAHook has copied the model before'):
        train(cfg)


def test_iteration_based_alternate_needs_a_period(tmp_path, digits):
    cfg = classifier_config(tmp_path, digits, hook=dict(recipe='alternate'))
    cfg.train_cfg = dict(by_epoch=False, max_iters=2)
    cfg.param_scheduler = None
    with pytest.raises(ValueError, match='set period to the iterations of one block'):
        train(cfg)


@pytest.mark.parametrize('hook', RECIPES, ids=ids)
def test_amp_and_gradient_accumulation(tmp_path, digits, baseline, hook):
    cfg = classifier_config(tmp_path, digits, backbone='resnet', load_from=baseline('resnet'),
                            hook=hook)
    if torch.cuda.is_available():
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    else:
        cfg.optim_wrapper.type = 'CpuAmpOptimWrapper'
    cfg.optim_wrapper.accumulative_counts = 3
    runner = train(cfg)
    for _, layer in denoise_layers(runner.model):
        assert layer.denoiser.fitted and torch.isfinite(layer.denoiser.matrix()).all()
        assert layer.denoiser.matrix().dtype == torch.float32
    assert not equal(weights(tmp_path / 'epoch_2.pth'), weights(baseline('resnet')))


def test_accumulation_steps_the_host_as_without_the_hook(tmp_path, digits, baseline):
    for name, hook in (('plain', None), ('zero', dict(step_stride=0, solver='sgd'))):
        cfg = classifier_config(tmp_path / name, digits, load_from=baseline(), hook=hook)
        cfg.optim_wrapper.accumulative_counts = 3
        train(cfg if hook else with_generators(cfg))
    assert equal(weights(tmp_path / 'plain/epoch_2.pth'), weights(tmp_path / 'zero/epoch_2.pth'))


@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
@pytest.mark.parametrize('optim_wrapper', [
    dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.05),
         paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0,
                            custom_keys={'.cls_token': dict(decay_mult=0)}),
         clip_grad=dict(max_norm=1.0)),
    dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.05),
         paramwise_cfg=dict(layer_decay_rate=0.5),
         constructor='LearningRateDecayOptimWrapperConstructor'),
], ids=['paramwise', 'layer-decay'])
def test_optimiser_constructors_see_the_host_alone(tmp_path, digits, baseline, optim_wrapper, solver):
    def groups(runner):
        return [[tuple(p.shape) for p in group['params']] + [group['lr'], group['weight_decay']]
                for group in runner.optim_wrapper.optimizer.param_groups]

    stock = train(classifier_config(tmp_path / 'a', digits, optim_wrapper=optim_wrapper))
    ours = train(classifier_config(tmp_path / 'b', digits, optim_wrapper=optim_wrapper,
                                   hook=dict(solver=solver)))
    assert groups(stock) == groups(ours)


def test_predictors_follow_the_hosts_schedule(tmp_path, digits, baseline):
    rates = []

    def look(runner):
        hook = next(h for h in runner.hooks if type(h).__name__ == 'DenoiseRepHook')
        host = runner.optim_wrapper.optimizer.param_groups[0]
        rates.append((hook.learner.sgd.optimizer.param_groups[0]['lr'], host['lr']))

    cfg = classifier_config(tmp_path, digits, epochs=3, hook=dict(solver='sgd', lr_mult=4.0))
    run_with_spy(cfg, after_train_iter=look)
    assert all(own == pytest.approx(4 * host) for own, host in rates)
    assert rates[-1][0] < rates[0][0]
    cfg = classifier_config(tmp_path / 'own', digits,
                            hook=dict(solver='sgd', optimizer=dict(type='SGD', lr=0.5)))
    runner = train(cfg)
    hook = next(h for h in runner.hooks if type(h).__name__ == 'DenoiseRepHook')
    assert type(hook.learner.sgd.optimizer) is torch.optim.SGD


@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_activation_checkpointing_trains_the_same(tmp_path, digits, baseline, solver):
    for name, more in (('plain', {}), ('checkpointed', dict(
            activation_checkpointing=['backbone.layers.0', 'backbone.layers.1']))):
        cfg = classifier_config(tmp_path / name, digits, load_from=baseline(),
                                hook=dict(solver=solver, **STRONG), **more)
        cfg.model.backbone.drop_rate = 0.0
        train(cfg)
    a, b = (load(tmp_path / f'{n}/epoch_2.pth') for n in ('plain', 'checkpointed'))
    for key, value in a['state_dict'].items():
        torch.testing.assert_close(value, b['state_dict'][key], rtol=1e-3, atol=1e-4)
    counts = [[m['count'] for m in c['denoiserep']['moments'].values()] for c in (a, b)]
    assert counts[0] == counts[1]


def test_pretrained_init_cfg_is_what_training_starts_from(tmp_path, digits, baseline):
    starts = []

    def look(runner):
        state = runner.model.backbone.state_dict()
        starts.append({k: v.clone() for k, v in state.items() if 'denoiser' not in k})

    cfg = classifier_config(tmp_path, digits, hook={})
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=baseline(), prefix='backbone')
    run_with_spy(cfg, before_train_epoch=look)
    expected = {k.removeprefix('backbone.'): v for k, v in weights(baseline()).items()
                if k.startswith('backbone.')}
    assert equal(starts[0], expected)


def test_figures_reach_log_json_and_tensorboard(tmp_path, digits, baseline, caplog):
    cfg = classifier_config(tmp_path, digits, load_from=baseline(), hook=STRONG, log_level='INFO')
    cfg.visualizer = dict(type='UniversalVisualizer', vis_backends=[
        dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
    runner = train(cfg)
    keys = ('loss_denoise', 'denoise_floor', 'denoise_step_size')
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert all(f'{key}: ' in log for key in keys)
    assert log.count('layers converted') == 1
    lines = [json.loads(line) for line in next(
        tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()]
    last = [line for line in lines if 'loss_denoise' in line][-1]
    assert 0 < last['denoise_floor'] <= last['loss_denoise'] < 1.5
    assert last['denoise_step_size'] > 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(next(tmp_path.glob('*/vis_data'))))
    events.Reload()
    assert set(keys) <= set(events.Tags()['scalars'])
    figures = load(tmp_path / 'epoch_2.pth')['denoiserep']['figures']
    assert {len(v) for v in figures.values()} == {4} and runner.iter == 8


def test_saved_training_state_is_plain(tmp_path, digits, baseline):
    """The training state loads with weights_only=True, for either solver."""
    for solver in ('one_pass', 'sgd'):
        train(classifier_config(tmp_path, digits, load_from=baseline(), hook=dict(solver=solver)))
        torch.save(load(tmp_path / 'epoch_2.pth')['denoiserep'], tmp_path / 'state.pt')
        state = torch.load(tmp_path / 'state.pt', weights_only=True)
        assert {'raw', 'moments', 'config', 'figures'} <= state.keys()


def test_load_from_a_denoiserep_checkpoint_starts_from_its_fused_weights(tmp_path, digits, baseline):
    train(classifier_config(tmp_path / 'a', digits, load_from=baseline(), hook=STRONG))
    starts = []
    cfg = classifier_config(tmp_path / 'b', digits, load_from=str(tmp_path / 'a/epoch_2.pth'),
                            hook=STRONG)
    run_with_spy(cfg, before_train_epoch=lambda r: starts.append(
        {k: v.clone() for k, v in r.model.state_dict().items() if 'denoiser' not in k}))
    assert equal(starts[0], weights(tmp_path / 'a/epoch_2.pth'))


def test_the_hook_leaves_testing_alone(tmp_path, digits, baseline):
    """The DenoiseRep config tests its own fused file without denoising twice."""
    cfg = classifier_config(tmp_path, digits, load_from=baseline(), hook=STRONG)
    live = train(cfg).message_hub.get_scalar('val/accuracy/top1').current()
    cfg.load_from = str(tmp_path / 'epoch_2.pth')
    tester = build(cfg)
    assert tester.test()['accuracy/top1'] == live
    assert not list(denoise_layers(tester.model))


@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_backbone_builder_with_the_hook(tmp_path, digits, baseline, solver):
    cfg = classifier_config(tmp_path, digits, load_from=baseline(), hook={})
    cfg.model.backbone = dict(type='denoiserep_ext.DenoiseRepBackbone', backbone=cfg.model.backbone,
                              solver=solver, **STRONG)
    runner = train(cfg)
    assert type(runner.model.backbone).__name__ == 'VisionTransformer'
    assert weights(tmp_path / 'epoch_2.pth').keys() == weights(baseline()).keys()
    n = sum(len(g['params']) for g in runner.optim_wrapper.optimizer.param_groups)
    assert n == len(list(build(classifier_config(tmp_path / 'x', digits)).model.parameters()))
    # The same config evaluates the fused file, and mmpretrain's deploy call fuses.
    live = runner.message_hub.get_scalar('val/accuracy/top1').current()
    cfg.load_from = str(tmp_path / 'epoch_2.pth')
    tester = build(cfg)
    assert tester.test()['accuracy/top1'] == live
    runner.model.backbone.switch_to_deploy()
    assert not list(denoise_layers(runner.model))


def test_one_line_works_in_any_scope_without_imports(tmp_path, digits, baseline):
    cfg = classifier_config(tmp_path, digits, load_from=baseline())
    cfg.custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook')]
    runner = train(cfg)
    assert sum(1 for _ in denoise_layers(runner.model)) == 4


@pytest.mark.parametrize('hook, message', [
    (dict(recipe='jointly'), "Unknown recipe 'jointly': choose one of joint, alternate, frozen"),
    (dict(noise='pink'), "Unknown noise 'pink'"),
    (dict(layer='auto'), "Unknown DenoiseRep option 'layer'; there are .*layers.*recipe"),
    (dict(period=3), "period belongs to recipe='alternate'"),
    (dict(interval=0), 'interval must be'),
    (dict(moment_interval=0), 'moment_interval must be'),
    (dict(moment_tokens=0), 'moment_tokens must be'),
    (dict(layers='no_such_layer'), 'Nothing to convert'),
    (dict(step_stride=500), 'step 2000 is out of range'),
    (dict(target='trunk'), "has no part 'trunk' to convert: choose one of .*backbone"),
    (dict(decay=2.0), 'decay must lie'),
])
def test_bad_options_are_named_before_anything_is_written(tmp_path, digits, hook, message):
    cfg = classifier_config(tmp_path, digits, hook=hook)
    with pytest.raises(ValueError, match=message):
        train(cfg)
    assert not list(tmp_path.glob('*.pth'))


def test_nan_weights_are_refused_before_training(tmp_path, digits, baseline):
    state = load(baseline())
    state['state_dict']['backbone.layers.1.ffn.layers.1.weight'][0, 0] = math.nan
    torch.save(state, tmp_path / 'nan.pth')
    cfg = classifier_config(tmp_path / 'run', digits, load_from=str(tmp_path / 'nan.pth'), hook={})
    with pytest.raises(FloatingPointError, match=r'backbone\.layers\.1\.ffn.*non-finite'):
        train(cfg)


def test_a_missing_checkpoint_is_the_hosts_clear_error(tmp_path, digits):
    cfg = classifier_config(tmp_path, digits, load_from=str(tmp_path / 'none.pth'), hook={})
    with pytest.raises(FileNotFoundError, match=r'none\.pth'):
        train(cfg)


def test_efficient_conv_bn_eval_would_bypass_and_is_refused(tmp_path, digits):
    cfg = classifier_config(tmp_path, digits, backbone='resnet', hook={},
                            efficient_conv_bn_eval='[backbone]')
    with pytest.raises(ValueError, match='would bypass DenoiseRep'):
        train(cfg)


def test_gradients_are_on_again_after_a_frozen_run(tmp_path, digits, baseline):
    train(classifier_config(tmp_path, digits, load_from=baseline(), hook=dict(recipe='frozen')))
    assert torch.is_grad_enabled()
    assert nn.Linear(1, 1)(torch.ones(1)).requires_grad
