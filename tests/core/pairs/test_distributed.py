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
pairs = [(clean[own], [w[own] for w in worse])]
denoise_pairs_(model, pairs, PairConfig(ridge=1e-2, **ALL))
judged = net()
denoised = denoise_pairs_(judged, pairs, PairConfig(judge='feature'))
verdict = denoised.verdict
torch.save({'state': model.state_dict(), 'judged': judged.state_dict(), 'gain': verdict.gain,
            'images': verdict.images, 'fitted': denoised.images},
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
    denoise_pairs_(model, [(clean, worse)], PairConfig(ridge=1e-2, **ALL))
    assert first['images'] == second['images'] == 4  # each has 4 of its 12 images for the judge
    assert first['fitted'] == second['fitted'] == 16
    assert first['gain'] == second['gain']
    for key, value in first['judged'].items():
        assert torch.equal(value, second['judged'][key]), key
    for key, value in model.state_dict().items():
        assert torch.equal(first['state'][key], second['state'][key]), key
        torch.testing.assert_close(first['state'][key], value, rtol=1e-8, atol=1e-10)
