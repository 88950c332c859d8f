"""Noise that is shown, in two processes under DDP on gloo."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.mm.helpers import equal, weights

ROOT = Path(__file__).parents[2]


@pytest.mark.matrix
def test_ranks_share_the_images_and_end_with_the_weights_written(tmp_path, digits, baseline):
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         '-m', 'tests.mm.ddp_pairs_worker', str(tmp_path), str(digits), baseline('resnet')],
        cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    first, second = (torch.load(tmp_path / f'rank{rank}.pt', weights_only=True) for rank in (0, 1))
    assert equal(first['state'], second['state'])
    written = weights(tmp_path / 'run/epoch_0.pth')
    assert equal(first['state'], written)
    assert json.loads((tmp_path / 'run/denoiserep_pairs.json').read_text())['denoised']
    assert not equal(written, weights(baseline('resnet')))
    # Each tries the first image of all; apart from that one, none is read twice.
    assert len(first['read']) == 48 and len(set(second['read']) - set(first['read'])) == 48
