"""Checkpoints of the hosts are read safely, by several threads at a time, too."""
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch

from denoiserep_ext.core.files.reading import read_checkpoint

THREADS = 4


def test_threads_that_read_at_the_same_time_do_not_disturb_each_other(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({'state_dict': {'a': torch.ones(2)}, 'options': Namespace(b=1)}, path)
    together = Barrier(THREADS)

    def read(_):
        together.wait(timeout=60)
        return [read_checkpoint(path) for _ in range(25)]

    with ThreadPoolExecutor(THREADS) as pool:
        found = [checkpoint for own in pool.map(read, range(THREADS)) for checkpoint in own]
    assert len(found) == 25 * THREADS
    assert all(torch.equal(each['state_dict']['a'], torch.ones(2)) for each in found)
