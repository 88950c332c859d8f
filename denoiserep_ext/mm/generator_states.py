"""States of the random generators of one process, as plain data and tensors."""
from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def states() -> dict[str, Any]:
    """Those of Python, NumPy, torch and, where it is in use, this process's CUDA device."""
    kind, keys, *rest = np.random.get_state()
    found = {'python': random.getstate(), 'torch': torch.get_rng_state(),
             'numpy': (kind, torch.from_numpy(keys.astype(np.int64)), *rest)}
    if torch.cuda.is_initialized():
        found['cuda'] = torch.cuda.get_rng_state()
    return found


def restore_(saved: dict[str, Any]) -> None:
    """Put them back, those of this process that were saved; tensors are on the CPU."""
    random.setstate(saved['python'])
    kind, keys, *rest = saved['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(saved['torch'])
    if 'cuda' in saved and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved['cuda'])
