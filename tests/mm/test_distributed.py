"""Two processes under DDP on gloo."""
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import first_of
from tests.mm.ddp_worker import RECIPES
from tests.mm.helpers import classifier_config, equal, load, train

ROOT = Path(__file__).parents[2]
DEFAULT = ['joint', 'frozen']
each_recipe = pytest.mark.parametrize(
    'name', first_of([*DEFAULT, *(name for name in RECIPES if name not in DEFAULT)], len(DEFAULT)))


@pytest.fixture(scope='module')
def ranks(request, tmp_path_factory, digits, baseline):
    out = tmp_path_factory.mktemp('ddp')
    names = RECIPES if request.config.getoption('--all') else DEFAULT
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         '-m', 'tests.mm.ddp_worker', str(out), str(digits), baseline('vit'),
         baseline('resnet'), *names],
        cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return out


@each_recipe
def test_ranks_agree(ranks, name):
    first, second = (torch.load(ranks / f'{name}-rank{rank}.pt', weights_only=True)
                     for rank in (0, 1))
    assert all(first['fitted'])
    assert equal(first['parameters'], second['parameters'])


@each_recipe
def test_resumed_run_equals_uninterrupted_run(ranks, name):
    whole, resumed = (load(ranks / name / run / 'epoch_3.pth') for run in ('whole', 'resumed'))
    assert equal(whole['state_dict'], resumed['state_dict'])
    assert equal(whole['denoiserep']['raw'], resumed['denoiserep']['raw'])


def test_two_processes_solve_what_one_process_solves(ranks, tmp_path, digits, baseline):
    """The moments of all images are the same however they are dealt out."""
    cfg = classifier_config(tmp_path, digits, backbone='resnet', epochs=3,
                            hook={'interval': 3, **RECIPES['frozen']}, load_from=baseline('resnet'))
    alone = train(cfg).model
    together = torch.load(ranks / 'frozen-rank0.pt', weights_only=True)['parameters']
    for name, layer in denoise_layers(alone):
        torch.testing.assert_close(together[f'{name}.denoiser.weight'], layer.denoiser.weight,
                                   rtol=2e-2, atol=2e-2 * layer.denoiser.weight.abs().max().item())
