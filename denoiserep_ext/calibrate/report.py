"""Table, JSON and picture of a sweep."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from ..drawing import COLOURS, MARKERS, pyplot, save
from .sweep import Point, Sweep


def table(sweep: Sweep) -> str:
    """The metric at every setting; where it is a mean over conditions, under each of them, too."""
    plain = sweep.plain
    rows = [('noise', 'setting', plain.metric, '- plain', '95 % interval', *plain.parts),
            ('none', '', f'{plain.value:.4f}', '', '', *map('{:.4f}'.format, plain.parts.values()))]
    rows += [(p.setting.kind, _words(p.setting.level), f'{p.scores.value:.4f}', f'{p.gain:+.4f}',
              f'{p.gain - p.half:+.4f} .. {p.gain + p.half:+.4f}',
              *map('{:.4f}'.format, p.scores.parts.values())) for p in sweep.points]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ['  '.join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in
                                                  zip(row[1:], widths[1:]))]) for row in rows]
    if any('centred' in p.setting.kind for p in sweep.points):
        lines.append('(centred: without the mean of embeddings; strength 0: nothing else)')
    costs = {p.cost for p in sweep.points if p.cost}
    lines += [f'within_class: {cost}' for cost in sorted(costs)]
    return '\n'.join([*lines, *filter(None, (sweep.remark, ))])


def _words(level: float | str) -> str:
    return level if isinstance(level, str) else f'{level:g}'


def figures(sweep: Sweep) -> dict[str, Any]:
    """Everything of a sweep as plain data."""
    def point(p: Point) -> dict[str, Any]:
        return {**p.setting.as_dict(), 'value': p.scores.value, 'gain': p.gain, 'half_width': p.half,
                'metrics': p.scores.metrics, 'cost': p.cost}
    return {'metric': sweep.plain.metric, 'plain': sweep.plain.metrics,
            sweep.unit: len(sweep.plain.units),
            'points': [point(p) for p in sweep.points], 'best': point(sweep.best),
            'gains': sweep.gains, 'verdict': sweep.verdict, 'remark': sweep.remark}


def save_picture(sweep: Sweep, path: Path, title: str) -> None:
    """Metric against strength or setting, one curve per noise, and the plain model's line; where the
    metric is a mean over conditions, a thin curve for each of them."""
    figure, axes = pyplot().subplots(figsize=(7, 4.4), layout='constrained')
    axes.axhline(sweep.plain.value, color='black', linestyle='--', label='plain model')
    for number, kind in enumerate(dict.fromkeys(p.setting.kind for p in sweep.points)):
        points = [p for p in sweep.points if p.setting.kind == kind]
        axes.errorbar(_places(points), [sweep.plain.value + p.gain for p in points],
                      [p.half for p in points], fmt='o-', capsize=3, label=kind, color=COLOURS[number])
    for number, name in enumerate(sweep.plain.parts, start=1):
        colour, points = COLOURS[number % len(COLOURS)], sweep.points
        axes.plot(_places(points), [p.scores.parts[name] for p in points], color=colour, linewidth=1,
                  marker=MARKERS[number % len(MARKERS)], markersize=4, label=name)
        axes.axhline(sweep.plain.parts[name], color=colour, linewidth=0.8, linestyle=':')
    levels = [p.setting.level for p in sweep.points]
    if not any(isinstance(level, str) for level in levels):
        axes.set_xscale('symlog', linthresh=min(filter(None, levels)))  # strength 0 is there, too
        axes.set_xlabel('strength (noise level)')
    axes.set(ylabel=f'{sweep.plain.metric} on validation', title=title)
    axes.legend(fontsize=8)
    save(figure, path)


def _places(points: list[Point]) -> list[float | str]:
    return [p.setting.level.replace(', ', '\n') if isinstance(p.setting.level, str)
            else p.setting.level for p in points]
