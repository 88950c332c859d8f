"""Compiled and exported models compute what the eager one does."""
import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, PredictorSGD, convert_
from denoiserep_ext.core.fit.running import RunningMoments
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import TinyNet, randomise_


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def trained(compiled, solver, **options):
    """Losses, weights and predictors after a few steps on batches of changing size."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)).train()
    convert_(model, DenoiseRepConfig(layers='all', solver=solver, loss_tokens=16, **options))
    running = RunningMoments(model, moment_tokens=8)
    host = torch.optim.SGD([p for name, p in model.named_parameters() if 'denoiser' not in name], 0.01)
    predictors = PredictorSGD(model, lambda p: torch.optim.SGD(p, 0.1)) if solver == 'sgd' else None
    forward = torch.compile(model, backend='aot_eager') if compiled else model
    losses = []
    for step in range(5):
        x = torch.randn(20 + step % 2, 6, generator=torch.Generator().manual_seed(step))
        loss = forward(x).square().mean()
        loss.backward()
        host.step()
        host.zero_grad()
        losses.append(loss.item())
        if predictors is not None:
            losses.append(predictors.step())
        elif step == 2:
            running.refresh(solve=True)
    calls = [observer.calls for _, layer in denoise_layers(model) for observer in layer.observers]
    counts = [observer.moments.count for observer in running.observers.values()]
    return losses, calls, counts, model.state_dict()


@pytest.mark.parametrize('options', [
    dict(solver='one_pass'), dict(solver='sgd'), dict(solver='one_pass', train_noise=True)],
    ids=lambda options: ' '.join(map(str, options.values())))
def test_compiled_training_is_training(options):
    eager, compiled = trained(False, **options), trained(True, **options)
    assert compiled[1:3] == eager[1:3]
    assert compiled[0] == pytest.approx(eager[0], rel=1e-5)
    for name, value in eager[3].items():
        torch.testing.assert_close(compiled[3][name], value, msg=name)


def evaluated(solver):
    model, x = TinyNet().eval(), torch.randn(2, 3, 6, 6)
    convert_(model, DenoiseRepConfig(solver=solver))
    randomise_(model, 0.1)
    return model, x, model(x)


@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_a_converted_model_compiles_in_one_graph(solver):
    model, x, expected = evaluated(solver)
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), expected)


@pytest.mark.parametrize('solver, strict', [('one_pass', True), ('one_pass', False), ('sgd', False)])
def test_a_converted_model_is_exported(solver, strict):
    """torch 2.5 exports strictly no model at all that has a forward pre-hook, as those trained by
    their loss have."""
    model, x, expected = evaluated(solver)
    exported = torch.export.export(model, (x, ), strict=strict)
    torch.testing.assert_close(exported.module()(x), expected)
