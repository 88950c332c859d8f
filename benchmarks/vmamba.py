"""VMamba's throughput by the path its scans take."""
from __future__ import annotations

from typing import Any

import torch

from denoiserep_ext import VMamba

from .timing import DEVICE, autocast, timed


def run(arch: str, batch_size: int, size: int, repeats: int, backends: list[str],
        amp: str) -> list[dict[str, Any]]:
    """Images a second and peak MB, in evaluation and in training (forward and backward)."""
    images = torch.randn(batch_size, 3, size, size, device=DEVICE)
    rows = []
    for backend in backends:  # one after the other: activations of two need not fit
        torch.manual_seed(0)
        model = VMamba(arch, scan_backend=backend).to(DEVICE)

        @autocast(amp)
        def forward(model: torch.nn.Module = model) -> torch.Tensor:
            return model(images)[-1]

        def step(model: torch.nn.Module = model, forward=forward) -> None:
            forward().float().square().mean().backward()
            model.zero_grad()

        row = {'model': f'VMamba {arch}', 'scan': backend, 'batch size': batch_size}
        for name, call in (('evaluation', torch.no_grad()(forward)), ('training', step)):
            model.train(name == 'training')
            if DEVICE == 'cuda':
                torch.cuda.reset_peak_memory_stats()
            row[f'{name} images / s'] = batch_size / timed({name: call}, repeats)[name]
            if DEVICE == 'cuda':
                row[f'{name} MB'] = torch.cuda.max_memory_allocated() / 1e6
            print(row, flush=True)  # a slow scan takes its time
        rows.append(row)
    return rows
