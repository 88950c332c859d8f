"""Table, JSON and picture of a sweep."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.files.writing import parked
from .sweep import Point, Sweep


def table(sweep: Sweep) -> str:
    """Metric against strength for every noise."""
    lines = [f'{"noise":<21} {"strength":>9} {sweep.plain.metric:>14} {"- plain":>9}   95 % interval',
             f'{"none":<21} {"0":>9} {sweep.plain.value:>14.4f}']
    lines += [f'{p.denoising.kind:<21} {p.denoising.strength:>9g} {p.scores.value:>14.4f} '
              f'{p.gain:>+9.4f}   {p.gain - p.half:+.4f} .. {p.gain + p.half:+.4f}'
              for p in sweep.points]
    if any(p.denoising.centred for p in sweep.points):
        lines.append('(centred: without the mean of embeddings; strength 0: nothing else)')
    costs = {p.cost for p in sweep.points if p.cost}
    return '\n'.join([*lines, *(f'within_class: {cost}' for cost in sorted(costs))])


def figures(sweep: Sweep) -> dict[str, Any]:
    """Everything of a sweep as plain data."""
    def point(p: Point) -> dict[str, Any]:
        return {'noise': p.denoising.noise, 'strength': p.denoising.strength,
                'centred': p.denoising.centred, 'value': p.scores.value,
                'gain': p.gain, 'half_width': p.half, 'metrics': p.scores.metrics, 'cost': p.cost}
    return {'metric': sweep.plain.metric, 'plain': sweep.plain.metrics,
            sweep.unit: len(sweep.plain.units),
            'points': [point(p) for p in sweep.points], 'best': point(sweep.best),
            'gains': sweep.gains, 'verdict': sweep.verdict}


def save_picture(sweep: Sweep, path: Path, title: str) -> None:
    """Metric against strength, one curve per noise, and the plain model's line."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(figsize=(6.5, 4.2), layout='constrained')
    axes.axhline(sweep.plain.value, color='black', linestyle='--', label='plain model')
    for kind in dict.fromkeys(p.denoising.kind for p in sweep.points):
        points = [p for p in sweep.points if p.denoising.kind == kind]
        axes.errorbar([p.denoising.strength for p in points],
                      [sweep.plain.value + p.gain for p in points], [p.half for p in points],
                      fmt='o-', capsize=3, label=kind)
    least = min(p.denoising.strength for p in sweep.points if p.denoising.strength)
    axes.set_xscale('symlog', linthresh=least)  # strength 0 is there, too
    axes.set( xlabel='strength (noise level)', ylabel=f'{sweep.plain.metric} on validation',
             title=title)
    axes.legend()
    with parked(path) as partial:
        figure.savefig(partial, dpi=110, format=path.suffix[1:])
    plt.close(figure)
