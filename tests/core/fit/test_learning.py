"""One-pass and SGD predictors, moments, recipes."""
import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from denoiserep_ext import DenoiseRepConfig, PredictorSGD, convert_, denoise_loss, fit_one_pass_, fuse_
from denoiserep_ext.core.fit.learning import Learner, LearningOptions, figures_told
from denoiserep_ext.core.fit.one_pass import observing
from denoiserep_ext.core.fit.optimizers import optimizer_like
from denoiserep_ext.core.fit.optimum import Optimum
from denoiserep_ext.core.fit.recipes import BACKBONE, DENOISE, JOINT, Recipe, enter_phase_
from denoiserep_ext.core.fit.running import RunningMoments
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import TinyNet, converted, randomise_


@pytest.mark.parametrize('options, words', [
    ({}, 'just before they are solved again: far above the floor at first'),
    (dict(solver='sgd'), 'of the predictors that are trained; denoise_floor'),
    (dict(solver='sgd', loss='l1+l2'), 'trained, L1 + L2, while the floor is of L2 alone'),
])
def test_the_log_says_what_its_figures_are(options, words):
    text = figures_told(DenoiseRepConfig(**options))
    assert words in text and all(name in text for name in (
        'loss_denoise', 'denoise_floor', 'denoise_step_size'))


def test_sparse_observation_starts_anew_after_a_reset():
    """Right after a block begins there must be something to solve from."""
    model = TinyNet()
    convert_(model)
    running = RunningMoments(model, every=4)
    model.train()
    for _ in range(2):
        model(torch.randn(2, 3, 6, 6))
    running.reset_()
    with pytest.raises(ValueError, match=r'block\.conv1: no features reached this layer'):
        running.refresh(solve=True)
    model(torch.randn(2, 3, 6, 6))
    running.refresh(solve=True)
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(model))


def real_features():
    """MLP inputs of a small network on scikit-learn's digits: correlated, with a spread spectrum."""
    digits = pytest.importorskip('sklearn.datasets').load_digits().images / 16
    return torch.from_numpy(digits.reshape(-1, 64)).float()


@pytest.mark.parametrize('noise', ['unit', 'relative'])
def test_sgd_converges_to_the_one_pass_optimum(noise):
    model = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 64))
    options = dict(layers='all', noise=noise, steps=(800, 600))
    x = real_features()
    reference = copy.deepcopy(model)
    convert_(reference, DenoiseRepConfig(**options))
    floors = fit_one_pass_(reference, [x])
    convert_(model, DenoiseRepConfig(solver='sgd', loss_tokens=512, **options))
    with observing(model) as moments:
        model(x)
    enter_phase_(model, DENOISE)
    trainer = PredictorSGD(model, lambda p: torch.optim.Adam(p, lr=0.02))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, 400)
    for _ in range(400):
        with torch.no_grad():
            model(x)
        trainer.step()
        schedule.step()
    for (name, layer), (_, solved) in zip(denoise_layers(model), denoise_layers(reference)):
        reached = Optimum(layer, moments[name]).loss()
        assert floors[name] <= reached <= floors[name] + 0.01 * (1 - floors[name])
        gap = (layer.denoiser.weight - solved.denoiser.weight).norm() / solved.denoiser.weight.norm()
        assert gap < 0.1


@pytest.mark.parametrize('options', [dict(), dict(loss='l1+l2'), dict(rank=4), dict(loss_tokens=64)])
def test_every_sgd_variant_learns(options):
    model = nn.Sequential(nn.Linear(64, 16))
    convert_(model, DenoiseRepConfig(layers='all', solver='sgd', noise='relative', steps=(800, ),
                                     **options))
    trainer = PredictorSGD(model, lambda p: torch.optim.Adam(p, lr=0.03))
    x = real_features()
    with observing(model) as moments:
        model(x)
    for _ in range(150):
        model(x)
        trainer.step()
    floor = Optimum(model[0], moments['0']).floor()
    assert Optimum(model[0], moments['0']).loss() < floor + 0.25 * (1 - floor)


def test_loss_reaches_predictors_only_and_task_loss_the_rest_only():
    model = TinyNet().train()
    convert_(model, DenoiseRepConfig(solver='sgd'))
    x = torch.randn(4, 3, 6, 6)
    model(x)
    denoise_loss(model).backward()
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and parameter.grad.abs().sum() > 0
        assert reached == ('denoiser' in name), name
    model.zero_grad()
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == ('denoiser' not in name), name


def test_task_gradient_is_the_one_through_the_fused_weight():
    layer = randomise_(converted(nn.Linear(5, 4).double()), 0.3).train()
    x = torch.randn(7, 5, dtype=torch.float64)
    gradients = []
    for path in ('fused', 'explicit'):
        layer.train_path = path
        gradients.append(torch.autograd.grad(layer(x).square().sum(), [layer.weight, layer.bias]))
    for fused, explicit in zip(*gradients):
        torch.testing.assert_close(fused, explicit, rtol=1e-10, atol=1e-10)


def test_uncollected_losses_do_not_accumulate():
    model = TinyNet().train()
    convert_(model, DenoiseRepConfig(solver='sgd'))
    x = torch.randn(2, 3, 6, 6)
    for _ in range(5):
        model(x)
    assert [len(layer.observers[0].pending) for _, layer in denoise_layers(model)] == [1] * 4
    first = denoise_loss(model)
    assert 0 < first.item() < 4 * 1.5
    with pytest.raises(ValueError, match='No denoising loss was recorded'):
        denoise_loss(model)


def test_layers_called_twice_contribute_their_mean():
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.ReLU(), layer).train()
    convert_(model, DenoiseRepConfig(layers='all', solver='sgd', steps=(500, )))
    model(torch.randn(2000, 6))
    assert denoise_loss(model).item() == pytest.approx(1.0, abs=0.05)  # W_D = 0 predicts nothing


def test_evaluation_and_one_pass_models_record_no_loss():
    model = TinyNet().eval()
    convert_(model, DenoiseRepConfig(solver='sgd'))
    model(torch.randn(2, 3, 6, 6))
    with pytest.raises(ValueError, match='train'):
        denoise_loss(model)
    plain = TinyNet().train()
    convert_(plain)
    plain(torch.randn(2, 3, 6, 6))
    with pytest.raises(ValueError, match="solver='sgd'"):
        denoise_loss(plain)
    with pytest.raises(ValueError, match='no trainable predictors'):
        PredictorSGD(plain, torch.optim.SGD)


def test_global_generators_are_untouched():
    model = TinyNet().eval()
    convert_(model, DenoiseRepConfig(solver='sgd', loss_tokens=8))
    RunningMoments(model, moment_tokens=8)
    enter_phase_(model, JOINT)
    state = torch.get_rng_state()
    model(torch.randn(2, 3, 6, 6, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('use_reentrant', [True, False])
def test_activation_checkpointing_observes_once(use_reentrant):
    def run(recompute):
        torch.manual_seed(0)
        model = TinyNet().double().train()
        convert_(model, DenoiseRepConfig(solver='sgd'))
        running = RunningMoments(model, moment_tokens=None)
        x = torch.randn(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)
        y = checkpoint(model, x, use_reentrant=use_reentrant) if recompute else model(x)
        loss = denoise_loss(model)
        (y.square().sum() + loss).backward()
        counts = [o.moments.count for o in running.observers.values()]
        return loss.item(), counts, {n: p.grad for n, p in model.named_parameters()}

    plain, again = run(False), run(True)
    assert plain[0] == again[0] and plain[1] == again[1] == [72, 72, 2, 2]
    for name, gradient in plain[2].items():
        torch.testing.assert_close(gradient, again[2][name])


def test_train_noise_is_added_in_training_and_never_fused():
    model = nn.Sequential(nn.Linear(8, 8))
    convert_(model, DenoiseRepConfig(layers='all', train_noise=True, steps=(900, )))
    randomise_(model, 0.1)
    x = torch.randn(4, 8)
    assert not torch.equal(model.train()(x), model(x))
    expected = model.eval()(x)
    assert torch.equal(expected, model(x))
    twins = [fuse_(copy.deepcopy(model)).state_dict() for _ in range(2)]
    assert all(torch.equal(twins[0][k], twins[1][k]) for k in twins[0])
    torch.testing.assert_close(fuse_(model)(x), expected)


def test_recipes_as_phases():
    alternate = Recipe('alternate', 2)
    assert [alternate.phase(i) for i in range(5)] == [DENOISE, DENOISE, BACKBONE, BACKBONE, DENOISE]
    assert [alternate.ends(i) for i in range(4)] == [False, True, False, True]
    assert Recipe('frozen').phase(99) == DENOISE
    assert Recipe().phase(0) == JOINT
    with pytest.raises(ValueError, match="Unknown recipe 'jiont': choose one of joint"):
        Recipe('jiont')
    with pytest.raises(ValueError, match='period'):
        Recipe('alternate', 0)


def test_denoise_phase_freezes_statistics_dropout_and_nothing_the_host_froze():
    model = TinyNet()
    model.stem.weight.requires_grad_(False)
    convert_(model, DenoiseRepConfig(solver='sgd'))
    model.train()
    enter_phase_(model, DENOISE)
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        first, second = (model(torch.ones(2, 3, 6, 6)) for _ in range(2))
    assert torch.equal(first, second), 'dropout is off'
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items()
               if 'denoiser' not in k)
    assert denoise_loss(model).item() > 0
    model.train()
    enter_phase_(model, BACKBONE)
    model(torch.ones(2, 3, 6, 6))
    with pytest.raises(ValueError):
        denoise_loss(model)
    assert not model.stem.weight.requires_grad
    assert not torch.equal(model.block.bn1.running_mean, before['block.bn1.running_mean'])


def test_denoise_phase_sees_plain_features_and_backbone_phase_fused_ones():
    model = TinyNet()
    convert_(model, DenoiseRepConfig(update='posterior', step_stride=100))
    randomise_(model, 0.3)
    model.dropout.p = 0.0
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = 0.0
    x = torch.randn(2, 3, 6, 6)
    enter_phase_(model, DENOISE)
    from denoiserep_ext import unconvert_
    torch.testing.assert_close(model(x), unconvert_(copy.deepcopy(model)).eval()(x))
    model.train()
    enter_phase_(model, BACKBONE)
    torch.testing.assert_close(model(x), fuse_(copy.deepcopy(model)).train()(x))


def test_zero_strength_is_exactly_the_plain_model():
    model, x = TinyNet().eval(), torch.randn(2, 3, 6, 6)
    before, state = model(x), copy.deepcopy(model.state_dict())
    convert_(model, DenoiseRepConfig(step_stride=0))
    fit_one_pass_(model, [x])
    assert torch.equal(model(x), before)
    fuse_(model)
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())


def test_mean_squared_error_is_what_the_loss_measures():
    layer = converted(nn.Linear(3, 3), solver='sgd', loss='l1+l2')
    layer.train()(torch.randn(50_000, 3))
    normal = F.l1_loss(torch.randn(100_000), torch.zeros(100_000)).item()
    assert denoise_loss(nn.Sequential(layer)).item() == pytest.approx(1 + normal, rel=0.02)


@pytest.mark.parametrize('options, words', [
    ({'interval': 0}, 'interval must be an integer >= 1'), ({'interval': True}, 'interval must be'),
    ({'fold_interval': None}, 'fold_interval must be an integer >= 1'),
    ({'moment_tokens': 0}, 'moment_tokens must be'), ({'moment_interval': 1.5}, 'moment_interval must'),
    ({'decay': 1.1}, r'decay must lie in \[0, 1\]')])
def test_learning_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        LearningOptions(**options)


def learner(recipe='joint', solver='one_pass', step_stride=1, **options):
    """A learner of a small network and the optimiser of its host."""
    model, config = TinyNet(), DenoiseRepConfig(solver=solver, step_stride=step_stride)
    convert_(model, config)
    for _, layer in denoise_layers(model):
        layer.denoiser.trainable_(False)  # the host's optimiser must not find them
    host = torch.optim.SGD(model.parameters(), lr=0.4, momentum=0.9, weight_decay=0.1, nesterov=True)
    made = Learner(model, config, Recipe(recipe, 2),
                   LearningOptions(**options), partial(optimizer_like, host, 0.8))
    return made, host


def test_learner_solves_early_then_every_interval():
    made, host = learner(interval=10, moment_interval=1)
    solved = []
    refresh = made.moments.refresh
    made.moments.refresh = lambda solve: solved.append(step) or refresh(solve)
    made.enter(0)
    for step in range(1, 26):
        enter_phase_(made.model, made.phase)
        made.model(torch.randn(8, 3, 8, 8))
        made.learn(host, block_ends=step == 25)
    assert solved == [1, 2, 4, 8, 10, 20, 25]
    assert set(made.scalars) == {'loss_denoise', 'denoise_floor', 'denoise_step_size'}


def test_learner_forgets_moments_between_blocks_only():
    made, host = learner('alternate')
    assert [made.enter(epoch) for epoch in range(6)] == [True, False, True, False, True, False]
    made, host = learner('alternate')
    forgotten = []
    made.moments.reset_ = lambda: forgotten.append(epoch)
    for epoch in range(6):
        made.enter(epoch)
    assert forgotten == [4], 'not at the start, when moments may have been resumed'


def test_predictors_optimiser_is_like_the_hosts_and_follows_its_schedule():
    made, host = learner(solver='sgd')
    group = made.sgd.optimizer.param_groups[0]
    assert (group['momentum'], group['nesterov'], group['weight_decay']) == (0.9, True, 0.0)
    host.param_groups[0].update(initial_lr=0.4, lr=0.1)
    made.enter(0)
    enter_phase_(made.model, made.phase)
    made.model(torch.randn(8, 3, 8, 8))
    made.learn(host, block_ends=False)
    assert group['lr'] == pytest.approx(0.8 / 4)
