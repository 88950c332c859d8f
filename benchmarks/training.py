"""Training steps in mmengine's real Runner: plain, default hook, the paper's predictors."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from denoiserep_ext import convert_
from denoiserep_ext.compare.measure import parameter_ratio, step_times
from denoiserep_ext.core.fit.recipes import JOINT, enter_phase_
from denoiserep_ext.core.fit.running import RunningMoments
from denoiserep_ext.core.layer.fusion import hold_added_

from .models import MODELS, backbone
from .timing import DEVICE, timed

VARIANTS = {
    'default hook (joint, one pass)': dict(),
    'default hook, folded every 10th step': dict(fold_interval=10),
    'paper: SGD predictors, all tokens': dict(solver='sgd'),
    'SGD predictors, 256 tokens': dict(solver='sgd', loss_tokens=256),
    'SGD predictors, rank 16': dict(solver='sgd', rank=16),
    'SGD predictors, 256 tokens, rank 16': dict(solver='sgd', loss_tokens=256, rank=16),
}
INTERVAL = 100  # iterations between solvings, the hook's default


def run(name: str, batch_size: int, size: int, variants: list[str], iterations: int,
        work_dir: Path, amp: str) -> list[dict[str, Any]]:
    """Ratios of median steps to plain ones taken in turns with them; the default hook's with its share
    of solvings, too. Where not every step folds, its share of a folding is in all of them."""
    plain = MODELS[name](batch_size, size, None, work_dir, amp)
    solving, folding = solving_and_folding_seconds(name, size, work_dir)
    rows = []
    for variant in variants:
        # Two at a time: every thread's allocator keeps the memory of its steps.
        config = MODELS[name](batch_size, size, VARIANTS[variant], work_dir, amp)
        times = step_times({'plain': plain, 'variant': config}, work_dir, iterations, warmup=4)
        seconds = times['variant']
        if fold_interval := VARIANTS[variant].get('fold_interval'):
            seconds += folding / fold_interval  # the median step does not fold
        with_solving = seconds + solving / INTERVAL if variant.startswith('default') else seconds
        rows.append({
            'model': name, 'batch size': batch_size, 'variant': variant, 'plain seconds': times['plain'],
            'seconds': seconds, 'ratio': seconds / times['plain'],
            'ratio with solvings': with_solving / times['plain'],
            'numbers held': parameter_ratio(config)})
    return rows


def solving_and_folding_seconds(name: str, size: int, work_dir: Path) -> tuple[float, float]:
    """Median seconds of solving all predictors from running moments, and of folding all layers once."""
    model = backbone(name, size, work_dir)
    convert_(model)
    running = RunningMoments(model)
    model.train()
    enter_phase_(model, JOINT)  # layers of frozen stages learn, too
    model(torch.randn(2, 3, size, size, device=DEVICE))
    seconds = timed({'solve': lambda: running.refresh(solve=True), 'fold': lambda: hold_added_(model)},
                    repeats=3)
    return seconds['solve'], seconds['fold']
