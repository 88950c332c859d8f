"""Table, JSON and picture of a sweep."""
from __future__ import annotations

from collections.abc import Sequence
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
    metric is a mean over conditions, each of them, too."""
    figure, axes = pyplot().subplots(figsize=(8, 4.4), layout='constrained')
    plain, levels = sweep.plain, [p.setting.level for p in sweep.points]
    words = isinstance(levels[0], str)
    line = 'none' if words else '-'  # between settings there is nothing
    axes.axhline(plain.value, color='black', linestyle='--', label='plain model')
    for number, kind in enumerate(dict.fromkeys(p.setting.kind for p in sweep.points)):
        points = [p for p in sweep.points if p.setting.kind == kind]
        axes.errorbar(_places(points), [plain.value + p.gain for p in points], [p.half for p in points],
                      marker='o', linestyle=line, capsize=3, color=COLOURS[number],
                      label=f'{kind}: mean' if plain.parts else kind)
    for number, name in enumerate(plain.parts, start=1):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(_places(sweep.points), [p.scores.parts[name] for p in sweep.points], color=colour,
                  marker=MARKERS[number % len(MARKERS)], markersize=5, linestyle=line, label=name)
        axes.axhline(plain.parts[name], color=colour, linewidth=0.8, linestyle=':')
    if not words:
        axes.set_xscale('symlog', linthresh=min(filter(None, levels)))  # strength 0 is there, too
        axes.set_xlabel('strength (noise level)')
    axes.set(ylabel=f'{plain.metric} on validation', title=title)
    axes.tick_params(labelsize=8)
    figure.legend(loc='outside right center', fontsize=8)
    save(figure, path)


def _places(points: Sequence[Point]) -> list[float | str]:
    return [p.setting.level.replace(', ', '\n') if isinstance(p.setting.level, str)
            else p.setting.level for p in points]
