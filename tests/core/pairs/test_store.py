"""Where features are kept, and that their memory comes back."""
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from denoiserep_ext.core.pairs import store as store_module
from denoiserep_ext.core.pairs.store import Store, room_on_gpu

FREED = """
import gc
from pathlib import Path
import torch
from denoiserep_ext.core.pairs.store import trim_memory

def resident():
    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096

del (large := [torch.zeros(2**22)])[:]  # from now on the allocator keeps blocks of up to 16 MB
blocks = [torch.zeros(2**18) for _ in range(200)]
del blocks[:-1]  # the last one stands behind all others
before = resident()
trim_memory()
print((before - resident()) / 2**20)
"""


def places(store, *keys):
    """Where the first tensor of each key is."""
    values = [store._kept[key][0][0] for key in keys]
    return ['memory' if isinstance(v, torch.Tensor) else 'file' if isinstance(v, Path) else 'nowhere'
            for v in values]


def test_the_budget_counts_what_is_there():
    store, x = Store(budget=100), torch.arange(20.0)  # 80 bytes
    for key in range(3):
        store.put(key, {'x': x + key, 'n': key})
    assert places(store, 0, 1, 2) == ['memory', 'file', 'file']
    for key in range(3):
        value = store.get(key)
        assert torch.equal(value['x'], x + key) and value['n'] == key
    store.forget(0)
    assert places(store, 0) == ['nowhere'] and store.get(0)['x'].isnan().all()
    store.put(3, x)
    assert places(store, 3) == ['memory']
    store.put(3, x + 1)  # takes the place of the old value
    store.drop(1)
    assert places(store, 3) == ['memory'] and 1 not in store
    files = list(Path(store._folder.name).iterdir())
    assert len(files) == 1
    store.close()
    assert not files[0].exists()


def test_what_comes_back_is_no_view_of_what_is_kept():
    store, x = Store(budget=1000), torch.zeros(4)
    store.put('x', x[:2])
    x += 1
    store.get('x').add_(5)
    assert store.get('x').tolist() == [0, 0]


def test_without_values_shapes_remain():
    store = Store(budget=0)
    store.put('x', (torch.ones(3, 2), torch.ones(2, dtype=torch.int64)), values=False)
    assert places(store, 'x') == ['nowhere'] and store._folder is None
    real, whole = store.get('x')
    assert real.shape == (3, 2) and real.isnan().all() and whole.dtype == torch.int64


def test_nothing_stays_on_other_devices():
    assert Store(budget=10)._room(torch.device('mps')) < 0  # not even an empty tensor


def test_half_of_a_gpu_stays_free_whoever_uses_it(monkeypatch):
    """80 bytes, of which others use 10 and this process 25; 20 of these are reserved, but idle."""
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (45, 80))
    monkeypatch.setattr(torch.cuda, 'memory_reserved', lambda device: 25)
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda device: 5)
    assert room_on_gpu(torch.device('cuda')) == 25  # 15 are in use


def test_what_a_gpu_has_no_room_for_goes_one_size_down(monkeypatch):
    """The CPU's memory stands for the GPU's, and for itself once an allocation has failed."""
    x, calls = torch.arange(3.0), []

    class Full(torch.Tensor):
        def detach(self):
            return self

        def to(self, place, **_):
            calls.append(place.type)
            if len(calls) == 1:
                raise torch.cuda.OutOfMemoryError('full')
            return x.clone()

        @property
        def device(self):
            return torch.device('cuda')

    monkeypatch.setattr(store_module, 'room_on_gpu', lambda place: 10**9)
    kept = Store(budget=100)._keep(x.as_subclass(Full))
    assert calls == ['cuda', 'cpu'] and torch.equal(kept, x)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another allocator')
def test_freed_memory_is_given_back():
    done = subprocess.run([sys.executable, '-c', FREED], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 150  # MB, of 199
