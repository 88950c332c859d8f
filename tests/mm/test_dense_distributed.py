"""A detector and a segmentor in two processes, and our own entry where there is no GPU."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from denoiserep_ext.mm.cpu import adapt_to_cpu_
from tests.mm.ddp_dense_worker import RUNS
from tests.mm.dense import dense_config, middle_and_last
from tests.mm.helpers import equal, load, weights

pytest.importorskip('mmdet', reason='needs mmdet (bash tools/install.sh)')
pytest.importorskip('mmseg', reason='needs mmseg (bash tools/install.sh)')

ROOT = Path(__file__).parents[2]
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')


def torchrun(*arguments, cwd=ROOT):
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=900,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return result.stdout + result.stderr


@pytest.fixture(scope='module')
def ranks(tmp_path_factory, scenes, dense_baseline):
    out = tmp_path_factory.mktemp('ddp')
    torchrun('-m', 'tests.mm.ddp_dense_worker', out, scenes, dense_baseline('detector'),
             dense_baseline('segmentor'))
    return out


@no_gpu
@pytest.mark.matrix
@pytest.mark.parametrize('kind', RUNS)
def test_ranks_agree_and_a_resumed_run_equals_an_uninterrupted_one(ranks, kind):
    first, second = (torch.load(ranks / f'{kind}-rank{rank}.pt', weights_only=True)
                     for rank in (0, 1))
    assert all(first['fitted']) and equal(first['parameters'], second['parameters'])
    last = middle_and_last(kind)[1]
    whole, resumed = (load(ranks / kind / run / last) for run in ('whole', 'resumed'))
    assert equal(whole['state_dict'], resumed['state_dict'])
    assert equal(whole['denoiserep']['raw'], resumed['denoiserep']['raw'])


@no_gpu
@pytest.mark.matrix
@pytest.mark.parametrize('kind', ['segmentor', 'detector'])
def test_our_entry_trains_and_tests_in_two_cpu_processes(tmp_path, scenes, dense_baseline, kind):
    """tools/train.py and tools/test.py under torchrun; the config asks for SyncBN and NCCL."""
    cfg = dense_config(kind, tmp_path / 'run', scenes, load_from=dense_baseline(kind), hook={})
    cfg.custom_hooks = cfg.custom_hooks[1:]  # Reseed is a class of these tests
    cfg.train_dataloader.batch_size = 2
    if kind == 'segmentor':
        cfg.model.decode_head.norm_cfg = dict(type='SyncBN', requires_grad=True)
    cfg.env_cfg.dist_cfg = dict(backend='nccl')
    cfg.dump(tmp_path / 'config.py')
    torchrun(ROOT / 'tools/train.py', tmp_path / 'config.py', '--launcher', 'pytorch')
    last = tmp_path / 'run' / middle_and_last(kind)[1]
    assert weights(last).keys() == weights(dense_baseline(kind)).keys()
    torchrun(ROOT / 'tools/test.py', tmp_path / 'config.py', last, '--launcher', 'pytorch',
             '--work-dir', tmp_path / 'two')
    result = subprocess.run(
        [sys.executable, ROOT / 'tools/test.py', tmp_path / 'config.py', last, '--work-dir',
         tmp_path / 'one'], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    two, one = (json.loads(next((tmp_path / name).glob('*/*.json')).read_text())
                for name in ('two', 'one'))
    figures = {key for key in one if re.search('mAP$|IoU$|aAcc', key)}
    assert len(figures) >= 2 and all(two[key] == one[key] for key in figures)


@no_gpu
def test_adapting_touches_what_needs_a_gpu_alone():
    cfg = Config(dict(model=dict(norm_cfg=dict(type='SyncBN', eps=1e-3),
                                 heads=[dict(norm=dict(type='SyncBN')), dict(type='GN')])))
    assert adapt_to_cpu_(cfg)
    assert cfg.model == dict(norm_cfg=dict(type='BN', eps=1e-3),
                             heads=[dict(norm=dict(type='BN')), dict(type='GN')])
    assert 'model_wrapper_cfg' not in cfg
