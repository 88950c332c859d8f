"""The pass over the images against the forward it needs, and what follows it."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from denoiserep_ext import convert_
from denoiserep_ext.core.fit.moments import Moments
from denoiserep_ext.core.fit.observers import CurrentBatch
from denoiserep_ext.core.fit.one_pass import TOKENS, collect_moments, observing, solve_and_fuse_
from denoiserep_ext.core.layer.layers import denoise_layers

from .models import backbone
from .timing import DEVICE, autocast, now, timed

VARIANTS = {
    f'one pass ({TOKENS} vectors per image)': dict(tokens=TOKENS, dtype=None),
    'one pass, all vectors in float64': dict(tokens=None, dtype=torch.float64),
}


@torch.no_grad()
def run(name: str, batch_size: int, size: int, repeats: int, work_dir: Path,
        amp: str) -> list[dict[str, Any]]:
    """Ratios of a batch's median time to the plain forward of the same batch."""
    plain = backbone(name, size, work_dir)
    images = torch.randn(batch_size, 3, size, size, device=DEVICE)
    calls = {'plain forward': autocast(amp)(lambda: plain(images))}
    contexts = []
    for variant, options in VARIANTS.items():
        model = backbone(name, size, work_dir)
        convert_(model)
        context = observing(model, batch=CurrentBatch(images=batch_size), **options)
        context.__enter__()
        contexts.append(context)
        calls[variant] = autocast(amp)(lambda model=model: model(images))
    times = timed(calls, repeats, warmup=2)
    for context in contexts:
        context.__exit__(None, None, None)
    return [{'model': name, 'batch size': batch_size, 'variant': variant, 'seconds': seconds,
             'ratio': seconds / times['plain forward']} for variant, seconds in times.items()]


@torch.no_grad()
def after(name: str, size: int, work_dir: Path) -> dict[str, Any]:
    """Seconds of converting, and of solving and fusing, against the model's size."""
    model = backbone(name, size, work_dir)
    parameters = sum(p.numel() for p in model.parameters())
    start = now()
    convert_(model)
    converting = now() - start
    numbers = moments_held(model)
    moments = collect_moments(model, [torch.randn(2, 3, size, size, device=DEVICE)] * 2)
    layers = sum(1 for _ in denoise_layers(model))
    start = now()
    solve_and_fuse_(model, moments)
    return {'model': name, 'parameters': parameters, 'layers': layers, 'moments MB': numbers * 8 / 1e6,
            'converting': converting, 'solving and fusing': now() - start}


def moments_held(model: nn.Module) -> int:
    """Numbers that the moments of a converted model hold."""
    return sum(Moments.size(layer.denoiser.groups, layer.denoiser.channels)
               for _, layer in denoise_layers(model))
