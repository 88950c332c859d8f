"""The best checkpoint of several processes."""
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from denoiserep_ext.core.files.plain import KEY
from tests.mm.helpers import equal, load

ROOT = Path(__file__).parents[2]


@pytest.mark.matrix
def test_the_best_checkpoint_holds_the_moments_of_all_processes(tmp_path, digits, baseline):
    """It is saved after an evaluation, between two regular checkpoints."""
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         '-m', 'tests.mm.ddp_best_worker', str(tmp_path), str(digits), baseline()],
        cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    first, second = (torch.load(tmp_path / f'rank{rank}.pt', weights_only=True) for rank in (0, 1))
    saved = load(tmp_path / 'best.pth')[KEY]['moments']
    assert first and first.keys() == second.keys() == saved.keys()
    for name, moments in first.items():
        assert same(moments, second[name]) and same(moments, saved[name])


def same(a: dict, b: dict) -> bool:
    tensors = [{k: v for k, v in m.items() if isinstance(v, torch.Tensor)} for m in (a, b)]
    panels = [dict(enumerate(m['panels'])) for m in (a, b)]
    return a['count'] == b['count'] > 0 and equal(*tensors) and equal(*panels)
