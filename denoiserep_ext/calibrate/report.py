"""Table and figures of a sweep."""
from __future__ import annotations

from typing import Any

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
