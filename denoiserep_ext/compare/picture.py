"""Picture of a comparison: what every row scores, and what its predictors have learned."""
from __future__ import annotations

import math
import textwrap
from pathlib import Path

from ..drawing import COLOURS, pyplot, save
from .report import metrics_shown
from .stages import ROWS

LABELS = {'baseline': 'baseline', 'control': 'control\n(as long)', 'denoiserep': 'DenoiseRep,\nfused'}
MOST_LAYERS = 40  # that have a line of their own with their name


def save_picture(reports: list[dict], path: Path) -> None:
    """A column per model: above, the metric of every seed with mean and standard deviation; below, the
    denoising loss of every layer beside the least that a linear predictor can reach.

    Args:
        reports: Of comparisons, as ``tools/compare.py`` writes them.
        path: File to write.
    """
    most = max(min(len(report['layers']['floor']), MOST_LAYERS) for report in reports)
    heights = 3.4, 0.17 * most + 0.9
    figure, axes = pyplot().subplots(2, len(reports), figsize=(5.2 * len(reports), sum(heights) + 1.3),
                                     squeeze=False, layout='constrained', height_ratios=heights)
    for (above, below), report in zip(axes.T, reports):
        _scores(above, report)
        _layers(below, report['layers'])
    entries = [entry for cell in axes[:, 0] for entry in zip(*cell.get_legend_handles_labels())]
    figure.legend(*zip(*entries), loc='outside lower center', ncols=2, fontsize=8)
    figure.suptitle('Baseline, control and DenoiseRep on the test set')
    save(figure, path)


def _scores(axes, report: dict) -> None:
    metric = report['metric']
    places = metrics_shown(report['summary'])[metric]
    for position, row in enumerate(ROWS):
        values = [result['metrics'][metric] for result in report['results'] if result['row'] == row]
        summary = report['summary'][row][metric]
        mean, std = summary['mean'], summary['std']
        first = position == 0
        axes.errorbar(position, mean, 0.0 if math.isnan(std) else std, fmt='D', capsize=5,
                      color=COLOURS[position], label='mean and standard deviation' if first else None)
        # Side by side, so that seeds that score the same are seen.
        beside = [position + 0.14 + 0.25 * k / max(3, len(values)) for k in range(len(values))]
        axes.plot(beside, values, 'o', markersize=4, color='0.45', label='one seed' if first else None)
        axes.annotate(f'{mean:.{places}f}', (position, mean), (-9, 0), textcoords='offset points',
                      ha='right', va='center', fontsize=9)
    axes.set_xticks(range(len(ROWS)), [LABELS[row] for row in ROWS])
    axes.set_xlim(-0.65, len(ROWS) - 0.45)
    seeds = len(report['seeds'])
    axes.set_ylabel(metric)
    axes.set_title(f'{textwrap.fill(report["name"], 50)}\n{seeds} seed{"s" * (seeds > 1)}', fontsize=10)
    axes.margins(y=0.15)


def _layers(axes, figures: dict[str, dict[str, float]]) -> None:
    names, places = list(figures['floor']), range(len(figures['floor']))
    # One above the other, since a predictor that has just been solved reaches its floor.
    for key, shift, marker, colour, label in (
            ('loss', -0.2, 'o', COLOURS[4], "a layer's denoising loss"),
            ('floor', 0.2, '^', COLOURS[6], 'its floor: the least a linear predictor can reach')):
        axes.plot([figures[key][name] for name in names], [place + shift for place in places], marker,
                  markersize=4, color=colour, label=label)
    every = -(-len(names) // MOST_LAYERS)
    axes.set_yticks(places[::every], [name.removeprefix('backbone.') for name in names[::every]],
                    fontsize=7)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first layer above
    axes.grid(axis='y', linewidth=0.4, alpha=0.5)
    axes.set_xlabel('denoising loss (1: no noise is predicted)', fontsize=9)
