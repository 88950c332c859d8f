"""Denoising from pairs against plain forwards of the images involved, each model in a process of its
own."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

MEMORY = 2**30  # bytes of features kept in the memory of the CPU; a GPU's is half its own


def run(name: str, images: int, batch_size: int, size: int, work_dir: Path, amp: str) -> dict[str, Any]:
    """Time of the walk without solving, over that of one forward of clean and worse images; peaks."""
    output = subprocess.run(
        [sys.executable, '-m', 'benchmarks.pairs', name, str(images), str(batch_size), str(size),
         str(work_dir), amp], check=True, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[1]).stdout
    return json.loads(output.splitlines()[-1])


def main(name: str, images: str, batch_size: str, size: str, work_dir: str, amp: str) -> None:
    """Walk through one model and print the figures."""
    import torch

    from denoiserep_ext import PairConfig, denoise_pairs_

    from .memory import peak_resident
    from .models import backbone
    from .timing import DEVICE, autocast, now
    model = backbone(name, int(size), Path(work_dir))
    generator = torch.Generator(DEVICE).manual_seed(0)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        clean = torch.randn(int(batch_size), 3, int(size), int(size), generator=generator, device=DEVICE)
        return clean, clean + 0.3 * torch.randn(clean.shape, generator=generator, device=DEVICE)

    count = max(1, int(images) // int(batch_size))
    with torch.no_grad(), autocast(amp):
        pair = batch()
        model(pair[0])
        start = now()
        for _ in range(max(1, count // 4)):  # batches cost alike: a quarter of them will do
            for x in pair:
                model(x)
        forward = (now() - start) / max(1, count // 4) * count
    start = now()
    report = denoise_pairs_(model, (batch() for _ in range(count)), PairConfig(memory=MEMORY),
                            autocast(amp)(lambda model, images: model(images.to(DEVICE))))
    seconds = now() - start
    peak = torch.cuda.max_memory_allocated() if DEVICE == 'cuda' else peak_resident()
    print(json.dumps({
        'model': name, 'pairs': int(batch_size) * count, 'layers': len(report.changed),
        'forward s': forward, 'walk s': seconds, 'solving s': report.solving,
        'forwards': (seconds - report.solving) / forward, 'peak MB': peak / 1e6,
        'CPU memory for features MB': MEMORY / 1e6}))


if __name__ == '__main__':
    main(*sys.argv[1:])
