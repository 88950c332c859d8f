"""What a Learner saves, takes over, and leaves behind."""
from functools import partial

import pytest
import torch

from denoiserep_ext import DenoiseRepConfig
from denoiserep_ext.core.fit.learning import Learner
from denoiserep_ext.core.fit.learning_options import LearningOptions
from denoiserep_ext.core.fit.optimizers import described, optimizer_like
from denoiserep_ext.core.fit.recipes import Recipe, enter_phase_
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.core.fit.test_learning import learner

SOLVERS = ['one_pass', 'sgd']


def learn(made, host, steps=1):
    for _ in range(steps):
        made.enter(0)
        enter_phase_(made.model, made.phase)
        made.model(torch.randn(8, 3, 8, 8))
        made.learn(host, block_ends=False)


@pytest.mark.parametrize('solver', SOLVERS)
def test_the_state_of_a_learner_that_has_not_begun_is_saved_and_taken_over(solver):
    state = learner(solver=solver)[0].state_dict()
    again, host = learner(solver=solver)
    again.load_state_dict(state)
    assert again.phase is None and again.enter(0), 'the first phase of a run is a change'
    learn(again, host)


@pytest.mark.parametrize('solver', SOLVERS)
def test_another_learner_of_the_same_model_takes_the_place_of_the_first(solver):
    first, host = learner(solver=solver)
    learn(first, host, 2)
    kinds = {name: [type(o) for o in layer.observers] for name, layer in denoise_layers(first.model)}
    second = Learner(first.model, first.config, first.recipe, first.options,
                     partial(optimizer_like, host, 0.8))
    assert kinds == {name: [type(o) for o in layer.observers]
                     for name, layer in denoise_layers(first.model)}
    learn(second, host)
    assert {o.calls for o in first.moments.observers.values()} == {2}
    assert {o.calls for o in second.moments.observers.values()} == {1}


@pytest.mark.parametrize('option, value', [
    ('interval', 7), ('moment_tokens', 3), ('moment_interval', 2), ('decay', 0.5), ('fold_interval', 5),
    ('loss_weight', 1.0), ('lr_mult', 2.0)])
def test_every_option_is_compared_with_the_saved_run(option, value):
    state = learner(solver='sgd')[0].state_dict()
    before = getattr(LearningOptions(), option)
    with pytest.raises(ValueError, match=f'Cannot resume: {option} is {value} here and {before} in'):
        learner(solver='sgd', **{option: value})[0].load_state_dict(state)
    learner(solver='sgd')[0].load_state_dict(state)


def test_a_mismatch_of_the_optimiser_is_named_before_anything_is_taken_over():
    state = learner(solver='sgd')[0].state_dict()
    made, _ = learner(solver='sgd')
    other = Learner(made.model, made.config, made.recipe, made.options,
                    lambda parameters: torch.optim.Adam(parameters, lr=0.8))
    with pytest.raises(ValueError, match="type of the predictors' optimizer is 'Adam' here and 'SGD'"):
        other.load_state_dict(state)
    assert other.phase is None and not other.sgd.optimizer.state


def test_a_state_from_before_an_option_was_saved_is_taken_over():
    state = learner()[0].state_dict()
    del state['options'], state['optimizer']
    learner()[0].load_state_dict(state)


def test_a_recipe_is_named_as_the_option_it_is():
    state = learner('frozen')[0].state_dict()
    with pytest.raises(ValueError, match="recipe is 'joint' here and 'frozen' in the checkpoint"):
        learner('joint')[0].load_state_dict(state)


def test_processes_share_once_for_every_iteration_learned():
    made, host = learner()
    shared = []
    made.moments.share_ = lambda: shared.append(made._learned)
    for _ in range(2):
        learn(made, host)
        made.share_()
        made.share_()
    assert shared == [1, 2]


def test_an_optimiser_is_described_in_plain_python():
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.1, betas=[0.8, 0.9])
    optimizer.defaults['anything'] = object()
    words = described(optimizer)
    assert (words['type'], words['lr'], words['betas']) == ('Adam', 0.1, (0.8, 0.9))
    assert 'anything' not in words


@pytest.mark.parametrize('name', ['loss_weight', 'lr_mult'])
@pytest.mark.parametrize('value', [-1, 0, float('nan'), float('inf'), '1'])
def test_factors_are_finite_and_positive(name, value):
    with pytest.raises(ValueError, match=f'{name} must be a finite number > 0'):
        LearningOptions(**{name: value})


def test_a_learner_of_one_pass_predictors_needs_no_optimiser():
    made, host = learner()
    bare = Learner(made.model, DenoiseRepConfig(), Recipe(), LearningOptions())
    learn(bare, host)
    assert bare.state_dict()['optimizer'] == {}
