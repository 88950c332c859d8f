"""Table, JSON and picture of a comparison."""
from __future__ import annotations

import math
from pathlib import Path

from ..core.files.plain import KEY
from ..core.files.reading import read_checkpoint
from ..core.files.writing import parked
from .comparison import decimals
from .stages import ROWS

TITLES = {'baseline': 'baseline', 'control': 'control (as long, no DenoiseRep)',
          'denoiserep': 'DenoiseRep, fused'}

MOST_LABELS = 40  # of layers, that fit below a picture


def table(reports: list[dict]) -> str:
    """One table for several comparisons; a value that was not measured is a dash."""
    rows = [('model', 'row', 'metric', 'mean', 'std', 'n')]
    for report in reports:
        for metric, places in _metrics(report['summary']).items():
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


def _metrics(summary: dict) -> dict[str, int]:
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


def save_picture(reports: list[dict], path: Path) -> None:
    """Metric with error bars and every seed, and denoising loss per layer with its floor."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(reports), figsize=(5.5 * len(reports), 7.5), squeeze=False,
                                layout='constrained')
    for (bars, layers), report in zip(axes.T, reports):
        metric = report['metric']
        places = _metrics(report['summary'])[metric]
        for position, row in enumerate(ROWS):
            values = [r['metrics'][metric] for r in report['results'] if r['row'] == row]
            summary = report['summary'][row][metric]
            std = 0.0 if math.isnan(summary['std']) else summary['std']
            bars.errorbar(position, summary['mean'], std, fmt='o', capsize=6, color=f'C{position}')
            bars.plot([position + 0.12] * len(values), values, '.', color='grey', alpha=0.7)
            bars.annotate(f'{summary["mean"]:.{places}f}', (position, summary['mean']), (-8, 0),
                          textcoords='offset points', ha='right', va='center')
        bars.set_xticks(range(len(ROWS)), ['baseline', 'control', 'DenoiseRep'])
        bars.set_xlim(-0.6, len(ROWS) - 0.4)
        bars.set_ylabel(metric)
        bars.set_title(f'{report["name"]}\nmean and standard deviation, {len(report["seeds"])} seeds')
        figures = report['layers']
        names = list(figures['floor'])
        layers.plot(range(len(names)), [figures['loss'][n] for n in names], 'o-', label='loss')
        layers.plot(range(len(names)), [figures['floor'][n] for n in names], 'k_', ms=12,
                    label='floor (closed form)')
        short = [n.removeprefix('backbone.') for n in names]
        every = -(-len(names) // MOST_LABELS)
        layers.set_xticks(range(0, len(names), every), short[::every], rotation=90, fontsize=7)
        layers.set_ylabel('denoising loss per layer')
        layers.legend()
    with parked(path) as partial:
        figure.savefig(partial, dpi=110, format=path.suffix[1:])
    plt.close(figure)
