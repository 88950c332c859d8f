"""What the tools have measured, read back from their files and drawn by their own code."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from denoiserep_ext.core.pairs.report import PairLayer, PairReport, Verdict
from denoiserep_ext.pairs.picture import save_picture
from denoiserep_ext.robustness.cells import Checkpoint
from denoiserep_ext.robustness.pictures import save_curves
from denoiserep_ext.robustness.run import Plan, Results


def save_noise(figures: dict[str, Any], path: Path) -> None:
    """Noise left by depth, from a ``..._pairs.json`` of ``tools/calibrate.py``."""
    layers = tuple(PairLayer(**{**layer, 'ridge': None}) for layer in figures['layers'])
    verdict = None if figures['verdict'] is None else Verdict(**figures['verdict'])
    report = PairReport(layers, figures['images'], verdict, figures['seconds'], figures['solving'])
    save_picture(report, path, f'small network of the digits, fitted to {", ".join(figures["worse"])}')


def save_robustness(figures: dict[str, Any], path: Path) -> None:
    """Curves over severity, from a ``robustness.json`` of ``tools/robustness.py``."""
    checkpoints = [Checkpoint(each['name'], Path(each['file']), each['sha256'])
                   for each in figures['checkpoints']]
    metrics: dict[str, dict] = {each.name: {} for each in checkpoints}
    for cell in figures['cells']:
        metrics[cell['checkpoint']][cell['corruption'], cell['severity']] = cell
    plan = Plan(figures['corruptions'], figures['severities'])
    save_curves(Results(plan, checkpoints, figures['metric'], figures['images'], metrics), path)
