"""Folding once in several iterations of training."""
import copy

import pytest
import torch
from torch.testing import assert_close

from denoiserep_ext import DenoiseRepConfig, convert_, fuse_
from denoiserep_ext.compare.costs import numbers_held
from denoiserep_ext.core.fit.learning import Learner, LearningOptions
from denoiserep_ext.core.fit.recipes import Recipe, enter_phase_
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.core.fit.test_learning import learner
from tests.core.fit.test_learning_state import learn
from tests.helpers import TinyNet


def solved(interval, recipe='joint'):
    """A learner whose predictors were solved once, large steps, and which has entered again."""
    torch.manual_seed(0)
    made, host = learner(recipe, fold_interval=interval, interval=1000, step_stride=100)
    learn(made, host)
    made.enter(0)
    enter_phase_(made.model, made.phase)
    return made


def weights_used(model):
    """``(weight, bias)`` that every layer's forward in training takes, by name."""
    used = {}
    for name, layer in denoise_layers(model):
        layer.apply_weight = lambda own, x, w, b, name=name, apply=layer.apply_weight: (
            used.update({name: (w, b)}) or apply(own, x, w, b))
    model(torch.randn(2, 3, 8, 8))
    for _, layer in denoise_layers(model):
        del layer.apply_weight
    return used


def test_right_after_folding_training_goes_through_the_fused_weights():
    made = solved(5)
    for name, (weight, bias) in weights_used(made.model).items():
        layer = made.model.get_submodule(name)
        exact = layer.folded()
        assert_close(weight, exact[0])
        if bias is not None:
            assert_close(bias, exact[1])
        assert not torch.equal(weight, layer.weight), 'the predictor does something here'


def test_in_between_weights_move_and_what_folding_adds_stands_still():
    made = solved(3)
    added = {name: layer.folded()[0] - layer.weight for name, layer in denoise_layers(made.model)}
    for step in range(1, 4):
        for _, layer in denoise_layers(made.model):
            layer.weight.data.add_(0.1 * torch.randn_like(layer.weight))
        made.enter(0)
        for name, (weight, _) in weights_used(made.model).items():
            layer = made.model.get_submodule(name)
            if step < 3:
                assert_close(weight, layer.weight + added[name])
                assert not torch.allclose(weight, layer.folded()[0])
            else:
                assert_close(weight, layer.folded()[0])


def test_gradients_pass_straight_through_to_the_weights():
    made = solved(5)
    x = torch.randn(4, 3, 8, 8)
    plain = fuse_(copy.deepcopy(made.model))
    for module in (made.model, plain):
        module.eval()  # BatchNorm in training would leave next to nothing of this loss's gradient
        for _, layer in denoise_layers(module):
            layer.training = True
        module(x).square().sum().backward()
    for name, layer in denoise_layers(made.model):
        assert_close(layer.weight.grad, plain.get_submodule(name).weight.grad, rtol=1e-4, atol=1e-5)


def test_evaluation_folds_the_weights_as_they_are():
    made = solved(1000)
    for _, layer in denoise_layers(made.model):
        layer.weight.data.add_(0.1)
    x = torch.randn(2, 3, 8, 8)
    made.model.eval()
    assert_close(made.model(x), fuse_(copy.deepcopy(made.model))(x))


@pytest.mark.parametrize('event', ['solving', 'saving', 'block'])
def test_what_changes_the_fold_or_a_resumed_run_has_it_folded_anew(event):
    made = solved(1000, 'alternate' if event == 'block' else 'joint')
    block = {'block': 2}.get(event, 0)
    made.enter(block)
    for _, layer in denoise_layers(made.model):
        layer.weight.data.add_(0.1)
    if event == 'solving':
        made._learned = 999
        made.model(torch.randn(8, 3, 8, 8))
        made.learn(torch.optim.SGD(made.model.parameters(), lr=0.1), block_ends=False)
    elif event == 'saving':
        made.share_()
    else:
        made.enter(4)
    made.enter(block)
    enter_phase_(made.model, made.phase)
    for name, (weight, _) in weights_used(made.model).items():
        assert_close(weight, made.model.get_submodule(name).folded()[0])


def test_a_later_learner_that_folds_at_every_step_finds_nothing_held():
    made = solved(1000)
    assert all(layer.added is not None for _, layer in denoise_layers(made.model))
    Learner(made.model, made.config, made.recipe, LearningOptions())
    assert all(layer.added is None for _, layer in denoise_layers(made.model))


def test_noise_added_in_training_leaves_no_use_for_it():
    model, config = TinyNet(), DenoiseRepConfig(train_noise=True)
    convert_(model, config)
    with pytest.raises(ValueError, match='fold_interval has no use with train_noise'):
        Learner(model, config, Recipe(), LearningOptions(fold_interval=2))


def test_numbers_held_count_what_is_kept_between_folds():
    made = solved(5)
    plain = sum(p.numel() for p in fuse_(copy.deepcopy(made.model)).parameters())
    kept = sum(value.numel() for _, layer in denoise_layers(made.model) for value in layer.added
               if value is not None)
    more = numbers_held(made.model, fold_interval=5) - numbers_held(made.model)
    assert more == pytest.approx(kept / plain, rel=1e-12)


def test_a_compiled_model_adds_what_was_folded_last():
    made = solved(3)
    made.model.eval()
    for _, layer in denoise_layers(made.model):
        layer.training, layer.observing = True, False
    compiled, x = torch.compile(made.model, backend='eager'), torch.randn(2, 3, 8, 8)
    seen = []
    with torch.no_grad():
        for _ in range(4):
            for _, layer in denoise_layers(made.model):
                layer.weight.add_(0.05)
            made.enter(0)
            seen.append(compiled(x))
            assert_close(seen[-1], made.model(x))
    assert not any(torch.equal(one, other) for one, other in zip(seen, seen[1:]))
