"""Table of a comparison."""
from __future__ import annotations

import math

from ..core.files.plain import KEY
from ..core.files.reading import read_checkpoint
from .comparison import decimals
from .stages import ROWS

TITLES = {'baseline': 'baseline', 'control': 'control (as long, no DenoiseRep)',
          'denoiserep': 'DenoiseRep, fused'}


def table(reports: list[dict]) -> str:
    """One table for several comparisons; a value that was not measured is a dash."""
    rows = [('model', 'row', 'metric', 'mean', 'std', 'n')]
    for report in reports:
        for metric, places in metrics_shown(report['summary']).items():
            for row in ROWS:
                figures = report['summary'][row][metric]
                std = '-' if math.isnan(figures['std']) else f'{figures["std"]:.{places}f}'
                rows.append((report['name'], TITLES[row], metric, f'{figures["mean"]:.{places}f}',
                             std, str(figures['n'])))
    lines = _columns(rows)
    costs = [('model', 'fused - unfused', 'step time', 'parameters', 'inference time', 'operators')]
    for report in reports:
        cost = report.get('costs') or {}
        costs.append((report['name'], *(
            '-' if cost.get(key) is None else style.format(cost[key]) for key, style in (
                ('fused_against_unfused', '{:.1e}'), ('step_time', 'x {:.2f}'),
                ('parameters', 'x {:.2f}'), ('inference_time', 'x {:.2f}'),
                ('operators', '{0[0]} / {0[1]}')))))
    lines += ['', *_columns(costs),
              '(fused - unfused: largest relative difference of features; ratios against plain, '
              'medians of one run; operators of one forward, fused / stock)', '',
              *(report['verdict'] for report in reports)]
    return '\n'.join(lines)


def metrics_shown(summary: dict) -> dict[str, int]:
    """Metrics worth a line and their decimals. COCO's AP is -1 where there is nothing to find (no
    large objects, say)."""
    means = {metric: [summary[row][metric]['mean'] for row in ROWS] for metric in summary[ROWS[0]]}
    return {metric: decimals(values) for metric, values in means.items() if set(values) != {-1.0}}


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return [lines[0], '-' * max(map(len, lines)), *lines[1:]]


def layer_figures(results: list[dict]) -> dict[str, dict[str, float]]:
    """Denoising loss and floor per layer of the first DenoiseRep run, from its checkpoint."""
    first = next(result for result in results if result['row'] == 'denoiserep')
    return read_checkpoint(first['checkpoint'])[KEY]['figures']
