"""The fused backbone's forward against the stock one's, eager and compiled."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from denoiserep_ext import convert_, fit_one_pass_, fuse_
from denoiserep_ext.compare.costs import count_operators

from .models import backbone
from .timing import DEVICE, autocast, timed


@torch.no_grad()
def run(name: str, size: int, repeats: int, work_dir: Path, amp: str) -> dict[str, Any]:
    """Fused over stock: medians in turns, one image at a time, and the operators of both."""
    ours, stock = (backbone(name, size, work_dir) for _ in range(2))
    images = torch.randn(1, 3, size, size, device=DEVICE)
    convert_(ours)
    fit_one_pass_(ours, [images])
    fuse_(ours)
    row: dict[str, Any] = {'model': name}
    times = timed({'fused': autocast(amp)(lambda: ours(images)),
                   'stock': autocast(amp)(lambda: stock(images))}, repeats, warmup=3)
    row['eager'] = times['fused'] / times['stock']
    compiled = {key: torch.compile(model) for key, model in (('fused', ours), ('stock', stock))}
    times = timed({key: autocast(amp)(lambda model=model: model(images))
                   for key, model in compiled.items()}, repeats, warmup=3)
    row['compiled'] = times['fused'] / times['stock']
    row['operators'] = [count_operators(model, images) for model in (ours, stock)]
    row['parameters'] = [sum(p.numel() for p in model.parameters()) for model in (ours, stock)]
    return row
