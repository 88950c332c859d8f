"""Memory that comes back, and room that is left."""
import platform
import subprocess
import sys

import pytest
import torch

from denoiserep_ext.core import memory
from denoiserep_ext.core.memory import room_on_gpu, trimming

FREED = """
from pathlib import Path
import torch
from denoiserep_ext.core.memory import trim_memory

def resident():
    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096

del (large := [torch.zeros(2**22)])[:]  # from now on the allocator keeps blocks of up to 16 MB
blocks = [torch.zeros(2**18) for _ in range(200)]
del blocks[:-1]  # the last one stands behind all others
before = resident()
trim_memory()
print((before - resident()) / 2**20)
"""


def test_half_of_a_gpu_stays_free_whoever_uses_it(monkeypatch):
    """80 bytes, of which others use 10 and this process 25; 20 of these are reserved, but idle."""
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (45, 80))
    monkeypatch.setattr(torch.cuda, 'memory_reserved', lambda device: 25)
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda device: 5)
    assert room_on_gpu(torch.device('cuda')) == 25  # 15 are in use


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another allocator')
def test_freed_memory_is_given_back():
    done = subprocess.run([sys.executable, '-c', FREED], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 150  # MB, of 199


def test_memory_is_given_back_between_batches_but_not_all_the_time(monkeypatch):
    """Batches that take 0.4 s each, at one second between."""
    now, given_back = [0.0], []
    monkeypatch.setattr(memory.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(memory, 'trim_memory', lambda: given_back.append(now[0]))
    seen = []
    for batch in trimming(range(7)):
        seen.append(batch)
        now[0] += 0.4
    assert seen == list(range(7))
    assert given_back == pytest.approx([1.2, 2.4])
