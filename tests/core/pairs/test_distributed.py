"""Two processes with half of the images each end with the weights of one with all of them."""
import os
import subprocess
import sys
from pathlib import Path

import torch

from denoiserep_ext import PairConfig, denoise_pairs_
from tests.core.pairs.test_walk import ALL, images, net

ROOT = Path(__file__).parents[3]
WORKER = '''
import torch
import torch.distributed as dist
from denoiserep_ext import PairConfig, denoise_pairs_
from denoiserep_ext.core.processes import leave_processes
from tests.core.pairs.test_walk import ALL, images, net
dist.init_process_group('gloo')
rank = dist.get_rank()
clean, worse = images(24)
model = net()
own = slice(12 * rank, 12 * rank + 12)
options = {**ALL, 'held_out': 0.25, 'judge': 'feature'}
pairs = [(clean[own], [w[own] for w in worse])]
report = denoise_pairs_(model, pairs, PairConfig(ridge=1e-2, **options))
torch.save({'state': model.state_dict(), 'gain': report.verdict.gain, 'images': report.verdict.images,
            'fitted': report.images},
           f'FOLDER/{rank}.pt')
leave_processes()
'''


def test_two_processes_share_the_work(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(WORKER.replace('FOLDER', str(tmp_path)))
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         str(script)], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert result.returncode == 0, result.stderr[-3000:]
    first, second = (torch.load(tmp_path / f'{rank}.pt', weights_only=True) for rank in (0, 1))
    clean, worse = images(24)
    model = net()
    options = {**ALL, 'held_out': 0.25, 'judge': 'feature'}
    report = denoise_pairs_(model, [(clean, worse)], PairConfig(ridge=1e-2, **options))
    assert first['images'] == second['images'] == report.verdict.images == 6
    assert first['fitted'] == second['fitted'] == report.images == 18
    assert first['gain'] == second['gain']
    for key, value in model.state_dict().items():
        assert torch.equal(first['state'][key], second['state'][key]), key
        torch.testing.assert_close(first['state'][key], value, rtol=1e-8, atol=1e-10)
