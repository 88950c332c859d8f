"""Where features are kept."""
from pathlib import Path

import torch

from denoiserep_ext.core.pairs import store as store_module
from denoiserep_ext.core.pairs.store import Store


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
