"""The hook in MMDetection (by epochs) and MMSegmentation (by iterations): everything the classifier
tests ask for, on models with frozen stages, sampled boxes, heads and label maps."""
import pytest
import torch

from denoiserep_ext import fused_state_dict, unconvert_
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import first_of
from tests.mm.dense import METRIC, dense_config, metrics, middle_and_last, retinanet_
from tests.mm.helpers import build, equal, load, train, weights
from tests.mm.test_hook import CpuAmpOptimWrapper, Spy  # noqa: F401  (registers them)

pytest.importorskip('mmdet', reason='needs mmdet (bash tools/install.sh)')
pytest.importorskip('mmseg', reason='needs mmseg (bash tools/install.sh)')

KINDS = ['detector', 'segmentor']
RECIPES = [dict(), dict(solver='sgd'), dict(recipe='frozen'), dict(recipe='frozen', solver='sgd'),
           dict(recipe='alternate'), dict(recipe='alternate', solver='sgd')]
STRONG = dict(update='posterior', step_stride=5, noise='relative')
each_kind = pytest.mark.parametrize('kind', KINDS)
each_recipe = pytest.mark.parametrize('hook', first_of(RECIPES, 2),
                                     ids=lambda h: '-'.join(h.values()) or 'joint')


def with_period(hook, kind):
    """Blocks of one epoch, or of two iterations."""
    if hook.get('recipe') != 'alternate':
        return hook
    return {**hook, 'period': 1 if kind == 'detector' else 2}


@each_kind
@each_recipe
def test_checkpoints_are_plain_and_score_what_the_live_model_scored(
        tmp_path, scenes, dense_baseline, kind, hook):
    """Stock config, fused file: every metric to the last digit."""
    start = dense_baseline(kind)
    runner = train(dense_config(kind, tmp_path / 'run', scenes, load_from=start,
                                hook={**with_period(hook, kind), **STRONG}))
    live, last = metrics(runner), tmp_path / 'run' / middle_and_last(kind)[1]
    assert METRIC[kind] in live and len(live) > 2
    stock = dense_config(kind, tmp_path / 'stock', scenes, load_from=str(last))
    stock.test_dataloader, stock.test_evaluator = stock.val_dataloader, stock.val_evaluator
    stock = build(stock)
    tested = stock.test()
    assert {key: tested[key] for key in live} == live
    saved, plain = weights(last), weights(start)
    assert {k: v.shape for k, v in saved.items()} == {k: v.shape for k, v in plain.items()}
    stock.model.load_state_dict(saved, strict=True)
    assert not equal(saved, unconvert_(runner.model).state_dict())


@each_kind
@pytest.mark.parametrize('solver', first_of(['one_pass', 'sgd']))
def test_frozen_moves_nothing_but_predictors(tmp_path, scenes, dense_baseline, kind, solver):
    start = dense_baseline(kind)
    runner = train(dense_config(kind, tmp_path, scenes, load_from=start,
                                hook=dict(recipe='frozen', solver=solver)))
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(runner.model))
    assert not runner.optim_wrapper.optimizer.state
    unconvert_(runner.model)
    assert equal(runner.model.state_dict(), weights(start))


@each_kind
@pytest.mark.parametrize('solver', first_of(['sgd', 'one_pass']))
def test_alternate_trains_one_side_at_a_time(tmp_path, scenes, dense_baseline, kind, solver):
    snapshots = []

    def snapshot(runner):
        state = {k: v.clone() for k, v in runner.model.state_dict().items()}
        snapshots.append([{k: v for k, v in state.items() if ('denoiser' in k) == ours}
                          for ours in (True, False)])

    runner = build(dense_config(kind, tmp_path, scenes, load_from=dense_baseline(kind),
                                hook=with_period(dict(recipe='alternate', solver=solver), kind)))
    runner.register_hook(Spy(after_train_iter=snapshot))
    runner.train()
    length = 4 if kind == 'detector' else 2
    blocks = [snapshots[0], *snapshots[length - 1::length]]
    for number, (before, after) in enumerate(zip(blocks, blocks[1:])):
        moved = tuple(not equal(a, b) for a, b in zip(before, after))
        # A block's last iteration is the one before its snapshot.
        assert moved == ((True, False), (False, True))[number % 2], number


@each_kind
def test_control_and_joint_at_zero_strength_are_the_same_run(tmp_path, scenes, dense_baseline, kind):
    for name, hook in (('control', None), ('zero', dict(step_stride=0))):
        train(dense_config(kind, tmp_path / name, scenes, load_from=dense_baseline(kind), hook=hook))
    last = middle_and_last(kind)[1]
    assert equal(weights(tmp_path / 'control' / last), weights(tmp_path / 'zero' / last))


@each_kind
@pytest.mark.parametrize('hook', first_of([dict(recipe='alternate', solver='sgd'), dict()]),
                         ids=['alternate', 'joint'])
def test_resumed_run_equals_uninterrupted_run(tmp_path, scenes, dense_baseline, kind, hook):
    def config(name, **more):
        return dense_config(kind, tmp_path / name, scenes,
                            hook={'interval': 3, **with_period(hook, kind), **STRONG}, **more)

    middle, last = middle_and_last(kind)
    train(config('whole', load_from=dense_baseline(kind)))
    train(config('resumed', resume=True, load_from=str(tmp_path / 'whole' / middle)))
    whole, resumed = (load(tmp_path / name / last) for name in ('whole', 'resumed'))
    assert equal(whole['state_dict'], resumed['state_dict'])
    assert equal(whole['denoiserep']['raw'], resumed['denoiserep']['raw'])
    assert whole['denoiserep']['figures'] == resumed['denoiserep']['figures']


@each_kind
def test_ema_is_what_is_fused_and_validated(tmp_path, scenes, dense_baseline, kind):
    cfg = dense_config(kind, tmp_path / 'run', scenes, load_from=dense_baseline(kind), hook=STRONG)
    cfg.custom_hooks.insert(0, dict(type='EMAHook', momentum=0.3, _scope_='mmengine'))
    runner = train(cfg)
    ema = next(h for h in runner.hooks if type(h).__name__ == 'EMAHook').ema_model.module
    last = tmp_path / 'run' / middle_and_last(kind)[1]
    assert equal(weights(last), fused_state_dict(runner.model, ema.state_dict()))
    stock = dense_config(kind, tmp_path / 'stock', scenes, load_from=str(last))
    stock.test_dataloader, stock.test_evaluator = stock.val_dataloader, stock.val_evaluator
    tested, live = build(stock).test(), metrics(runner)
    assert {key: tested[key] for key in live} == live


@each_kind
@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_amp_and_gradient_accumulation(tmp_path, scenes, dense_baseline, kind, solver):
    cfg = dense_config(kind, tmp_path, scenes, load_from=dense_baseline(kind),
                       hook=dict(solver=solver))
    if torch.cuda.is_available():
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    else:
        if kind == 'detector':
            retinanet_(cfg)  # proposals of Mask R-CNN need NMS, which has no half-precision CPU kernel
            cfg.load_from = None
        cfg.optim_wrapper.update(type='CpuAmpOptimWrapper', _scope_='mmengine')
    cfg.optim_wrapper.accumulative_counts = 3
    runner = train(cfg)
    for _, layer in denoise_layers(runner.model):
        assert layer.denoiser.fitted and torch.isfinite(layer.denoiser.matrix()).all()
        assert layer.denoiser.matrix().dtype == torch.float32


@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_what_the_host_froze_stays_frozen(tmp_path, scenes, dense_baseline, solver):
    """Stem and first stage keep their raw weights, BatchNorm its statistics; the rest trains."""
    start = weights(dense_baseline('detector'))
    runner = train(dense_config('detector', tmp_path, scenes, load_from=dense_baseline('detector'),
                                hook=dict(solver=solver)))
    backbone = runner.model.backbone
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(backbone.layer1))
    assert not any(p.requires_grad for name, p in backbone.layer1.named_parameters()
                   if 'denoiser' not in name)
    unconvert_(runner.model)
    moved = {key for key, value in runner.model.state_dict().items()
             if not torch.equal(value, start[key])}
    assert not [key for key in moved if key.startswith(('backbone.conv1', 'backbone.layer1'))]
    assert not [key for key in moved if key.startswith('backbone') and 'running' in key]
    assert any(key.startswith('backbone.layer4') for key in moved)


def test_a_block_without_the_host_still_lets_heads_compute_their_losses(
        tmp_path, scenes, dense_baseline):
    """Heads like FCOS's and detectors like DINO build other outputs in evaluation mode."""
    seen = []

    def look(runner):
        model = runner.model
        seen.append((model.training, model.roi_head.training, model.rpn_head.training,
                     model.backbone.training, model.backbone.layer2.training,
                     any(m.training for m in model.modules() if 'BatchNorm' in type(m).__name__)))

    cfg = dense_config('detector', tmp_path, scenes, load_from=dense_baseline('detector'),
                       hook=dict(recipe='frozen'), options={'train_cfg.max_epochs': 1})
    runner = build(cfg)
    runner.register_hook(Spy(after_train_iter=look))
    runner.train()
    assert set(seen) == {(True, True, True, False, False, False)}


PARTS = {'detector': dict(backbone='auto', neck='all', rpn_head='all', roi_head='all'),
         'segmentor': dict(backbone='auto', decode_head='all')}


@each_kind
@pytest.mark.parametrize('solver', first_of(['one_pass', 'sgd']))
def test_neck_and_heads_on_request(tmp_path, scenes, dense_baseline, kind, solver):
    """Part by part, resumed and tested; the last layers of heads are left alone."""
    hook = dict(layers=PARTS[kind], solver=solver, **STRONG)
    runner = train(dense_config(kind, tmp_path / 'whole', scenes, load_from=dense_baseline(kind),
                                hook=hook))
    names = [name for name, _ in denoise_layers(runner.model)]
    assert {name.partition('.')[0] for name in names} == set(PARTS[kind])
    assert not [n for n in names if n.endswith(('_cls', '_reg', '_seg', '_logits'))]
    middle, last = middle_and_last(kind)
    train(dense_config(kind, tmp_path / 'resumed', scenes, hook=hook, resume=True,
                       load_from=str(tmp_path / 'whole' / middle)))
    assert equal(weights(tmp_path / 'whole' / last), weights(tmp_path / 'resumed' / last))
    stock = dense_config(kind, tmp_path / 'stock', scenes, load_from=str(tmp_path / 'whole' / last))
    stock.test_dataloader, stock.test_evaluator = stock.val_dataloader, stock.val_evaluator
    tested, live = build(stock).test(), metrics(runner)
    assert {key: tested[key] for key in live} == live


@pytest.mark.parametrize('layers, message', [
    (dict(backbone='auto', head='all'), r"has no part 'head' to convert: choose one of .*rpn_head"),
    (dict(backbone='auto', neck='auto'), 'Nothing to convert.*FPN'),
])
def test_parts_that_cannot_be_are_named(tmp_path, scenes, layers, message):
    with pytest.raises(ValueError, match=message):
        train(dense_config('detector', tmp_path, scenes, hook=dict(layers=layers)))
