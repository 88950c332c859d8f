"""Fits on a GPU are those of the CPU."""
import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from denoiserep_ext import PairConfig, convert_, denoise_pairs_, fit_one_pass_, fuse_
from denoiserep_ext.core.fit.symmetric import factor_, solve, trace_of_inverse
from denoiserep_ext.core.pairs.store import Store
from tests.cuda.conftest import DEVICE
from tests.helpers import TinyNet

ROOT = Path(__file__).parents[2]


def batches(model, count=4):
    """Images in the model's precision."""
    generator, dtype = torch.Generator().manual_seed(1), model.head.weight.dtype
    return [torch.randn(16, 3, 12, 12, generator=generator).to(dtype) for _ in range(count)]


def pairs(model):
    generator = torch.Generator().manual_seed(2)
    for clean in batches(model, 6):
        yield clean, clean + 0.5 * torch.randn(clean.shape, generator=generator).to(clean)


def one_pass(model, **options):
    convert_(model)
    fit_one_pass_(model, batches(model), **options)
    fuse_(model)
    return model.state_dict()


def from_pairs(model, config=None):
    denoise_pairs_(model, pairs(model), config)
    return model.state_dict()


def on_both(fit, device, dtype, channels_last=False):
    """State dicts fitted on the CPU and on the device, and that of the start."""
    model = TinyNet(8).eval().to(dtype)
    other = copy.deepcopy(model).to(device)
    if channels_last:
        other = other.to(memory_format=torch.channels_last)
    start = {k: v.clone() for k, v in model.state_dict().items()}
    return start, fit(model), {k: v.cpu() for k, v in fit(other).items()}


def assert_same_step(start, ours, theirs, tolerance):
    """Changes of the weights, relative to the largest of each tensor."""
    moved = 0
    for name, value in theirs.items():
        step = (value - start[name]).abs().max().item() if value.is_floating_point() else 0
        moved += step > 0
        torch.testing.assert_close(ours[name], value, rtol=0, atol=tolerance * max(step, 1e-3),
                                   msg=lambda text, name=name: f'{name}: {text}')
    assert moved


@pytest.mark.parametrize('channels_last', [False, True])
def test_one_pass(device, channels_last):
    """All vectors: those drawn come from the device's own generator."""
    start, cpu, gpu = on_both(lambda m: one_pass(m, tokens=None), device, torch.float64,
                              channels_last)
    assert_same_step(start, gpu, cpu, 1e-8)


def test_one_pass_in_float32(device):
    start, cpu, gpu = on_both(lambda m: one_pass(m, tokens=None, dtype=torch.float64), device,
                              torch.float32)
    assert_same_step(start, gpu, cpu, 1e-2)


@pytest.mark.parametrize('form', ['patch', 'pointwise', 'scale', 'bias'])
def test_pairs(device, form):
    """The same positions on both: they are drawn on the CPU."""
    config = PairConfig(form=form, ridge=1e-2, held_out=0.0)
    start, cpu, gpu = on_both(lambda m: from_pairs(m, config), device, torch.float64)
    assert_same_step(start, gpu, cpu, 1e-6)


def test_features_kept_anywhere_give_the_same_model(device, tmp_path, monkeypatch):
    """All on the GPU, some, none; some in the memory of the CPU, the rest in files."""
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    keep, places, results = Store._keep, [], []

    def keep_and_note(self, tensor):
        kept = keep(self, tensor)
        places.append(place(kept))
        return kept

    monkeypatch.setattr(Store, '_keep', keep_and_note)
    model = TinyNet(8).eval().double().to(device)
    for gpu_memory, memory, expected in (
            (None, 2**30, {'cpu', 'cuda'}), (200_000, 0, {'cuda', 'file'}), (0, 2**30, {'cpu'}),
            (0, 200_000, {'cpu', 'file'})):
        del places[:]
        other = copy.deepcopy(model)
        results.append(from_pairs(other, PairConfig(ridge=1e-2, held_out=0.0, memory=memory,
                                                    gpu_memory=gpu_memory)))
        if device.type == 'cuda':
            assert set(places) == expected  # images are given, and stay, on the CPU
    for state in results[1:]:
        assert_same_step({k: v.cpu() for k, v in model.state_dict().items()},
                         *({k: v.cpu() for k, v in each.items()} for each in (state, results[0])), 1e-10)


def place(kept):
    return kept.device.type if isinstance(kept, torch.Tensor) else 'file'


def test_store_keeps_a_gpus_tensors_there_while_they_fit(device):
    store, x = Store(budget=100, gpu_budget=100), torch.arange(20.0, device=device)

    def places(*keys):
        return [place(store._kept[key][0][0]) for key in keys]

    for key in range(3):
        store.put(key, (x + key, 'text'))
    assert places(0, 1, 2) == (['cuda', 'cpu', 'file'] if device.type == 'cuda' else
                               ['cpu', 'file', 'file'])
    for key in range(3):
        value, text = store.get(key)
        assert torch.equal(value, x + key) and value.device == x.device and text == 'text'
    store.drop(0)
    store.put(3, x)
    assert places(3) == [device.type]
    store.close()


def test_systems_are_solved_in_their_own_memory(device):
    a = torch.randn(3, 300, 400, dtype=torch.float64)
    systems, right = a @ a.mT, torch.randn(3, 300, 5, dtype=torch.float64)
    own = systems.clone().to(device)
    address = own.data_ptr()
    factors, failed = factor_(own)
    assert not failed.any() and factors.data_ptr() == address
    tight = dict(rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(solve(factors, right.to(device)).cpu(),
                               torch.linalg.solve(systems, right), **tight)
    traces = torch.linalg.inv(systems).diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(trace_of_inverse(factors).cpu(), traces, **tight)


def test_pairs_in_float32(device):
    start, cpu, gpu = on_both(lambda m: from_pairs(m, PairConfig(ridge=1e-2)), device, torch.float32)
    assert_same_step(start, gpu, cpu, 1e-2)


def test_pairs_under_autocast_stay_near(device, record_error):
    """Features in bfloat16, sums in float64 all the same. Without a judge, whose decisions are yes or
    no, and with a ridge that leaves no direction to rounding."""
    def forward(model, batch):
        with torch.autocast(device.type, torch.bfloat16):
            return model(batch.to(device)).float()

    model, config = TinyNet(8).eval().to(device), PairConfig(ridge=1.0, held_out=0.0)
    plain, mixed = copy.deepcopy(model), copy.deepcopy(model)
    denoise_pairs_(plain, pairs(model), config)
    denoise_pairs_(mixed, pairs(model), config, forward=forward)
    start, wanted, given = (torch.cat([p.flatten() for p in m.parameters()])
                            for m in (model, plain, mixed))
    distance = ((given - wanted).norm() / (wanted - start).norm()).item()
    record_error('pairs in bfloat16, distance of the weights over their step', distance)
    assert distance < 0.1


def test_nccl(tmp_path):
    """A process group of one on NCCL, the most that one GPU allows: fits with its collectives end as
    without a group."""
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=1',
         '-m', 'tests.cuda.nccl_worker', str(tmp_path / 'group.pt')],
        cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    group = torch.load(tmp_path / 'group.pt', weights_only=True)
    torch.manual_seed(0)
    model = TinyNet(8).eval().to(DEVICE)
    alone = {'one pass': one_pass(copy.deepcopy(model), tokens=None),
             'pairs': from_pairs(copy.deepcopy(model), PairConfig(ridge=1e-2))}
    for name, state in alone.items():
        start = {k: v.cpu() for k, v in model.state_dict().items()}
        assert_same_step(start, group[name], {k: v.cpu() for k, v in state.items()}, 1e-2)
