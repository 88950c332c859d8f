"""Pictures of a robustness measurement: curves over severity and a heat map."""
from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from ..drawing import COLOURS, MARKERS, pyplot, save
from .report import decimals, summaries
from .run import Results

COLUMNS = 5  # of small pictures, at most
TITLE = 24  # characters of a line of a title


def save_curves(results: Results, path: Path) -> None:
    """The metric against severity (0: clean), one small picture per corruption and one of the mean."""
    plt = pyplot()
    names = [*results.plan.corruptions, 'mean'] if len(results.plan.corruptions) > 1 else list(
        results.plan.corruptions)
    lines = -(-len(names) // COLUMNS)
    columns = -(-len(names) // lines)
    figure, axes = plt.subplots(lines, columns, sharex=True, sharey=True, squeeze=False,
                                figsize=(max(2.5 * columns, 5), 2.2 * lines + 0.9), layout='constrained')
    severities = [0, *results.plan.severities]
    for cell in axes.flat[len(names):]:
        cell.set_visible(False)
    for cell, name in zip(axes.flat, names):
        for number, checkpoint in enumerate(results.checkpoints):
            scores = results.scores(checkpoint.name)
            cell.plot(severities, [_score(scores, results, name, s) for s in severities],
                      marker=MARKERS[number % len(MARKERS)], color=COLOURS[number % len(COLOURS)],
                      markersize=4, label=checkpoint.name)
        cell.set_title(name.replace('_', ' '), fontsize=10)
        cell.set_xticks(severities, ['clean', *map(str, severities[1:])], fontsize=8)
        cell.tick_params(axis='y', labelsize=8)
        cell.grid(alpha=0.3)
    for cell in axes.flat[max(0, len(names) - columns):len(names)]:
        cell.tick_params(labelbottom=True)  # the last of its column
    handles, labels = axes.flat[0].get_legend_handles_labels()
    fitting = int(11 * figure.get_figwidth() / (max(map(len, labels)) + 6))  # 11 characters an inch
    figure.legend(handles, labels, loc='outside upper center', fontsize=9,
                  ncols=max(1, min(len(labels), fitting)))
    figure.supxlabel('severity', fontsize=10)
    figure.supylabel(results.metric, fontsize=10)
    save(figure, path)


def _score(scores: dict, results: Results, name: str, severity: int) -> float:
    if severity == 0:
        return scores['clean', 0]
    if name == 'mean':
        return float(np.mean([scores[corruption, severity] for corruption in results.plan.corruptions]))
    return scores[name, severity]


def save_heat_map(results: Results, path: Path) -> None:
    """Corruption by severity: every further checkpoint minus the first one, or, of a single one, minus
    its own score on clean images."""
    plt = pyplot()
    first, *others = results.checkpoints
    if others:
        base = results.scores(first.name)
        panels = {c.name: {cell: value - base[cell] for cell, value in results.scores(c.name).items()}
                  for c in others}
    else:
        scores = results.scores(first.name)
        panels = {first.name: {cell: value - scores['clean', 0] for cell, value in scores.items()}}
    corruptions, severities = results.plan.corruptions, results.plan.severities
    grids = {name: np.array([[own[c, s] for s in severities] for c in corruptions])
             for name, own in panels.items()}
    most = max(np.nanmax(np.abs(grid)) for grid in grids.values()) or 1.0
    places = decimals(results) - 1
    size = (0.62 * len(severities) + 0.8) * len(grids) + 3.2, max(0.3 * len(corruptions) + 2.0, 3.2)
    figure, axes = plt.subplots(1, len(grids), sharey=True, squeeze=False, layout='constrained',
                                figsize=size)
    for cell, (name, grid) in zip(axes[0], grids.items()):
        image = cell.imshow(grid, cmap='RdBu', vmin=-most, vmax=most, aspect='auto')
        for (row, column), value in np.ndenumerate(grid):
            cell.text(column, row, f'{value:+.{places}f}', ha='center', va='center', fontsize=8,
                      color='white' if abs(value) > 0.6 * most else 'black')
        cell.set_xticks(range(len(severities)), severities)
        cell.set_yticks(range(len(corruptions)), [c.replace('_', ' ') for c in corruptions])
        cell.set_xlabel('severity')
        cell.set_title(_title(results, name, panels[name], places), fontsize=9)
    bar = figure.colorbar(image, ax=axes[0], shrink=0.9)
    other = textwrap.fill(first.name, TITLE) if others else 'clean images'
    bar.set_label(f'{results.metric} minus that of\n{other}', fontsize=9)
    save(figure, path)


def _title(results: Results, name: str, panel: dict, places: int) -> str:
    wrapped = textwrap.fill(name, TITLE)
    if len(results.checkpoints) == 1:
        return f'{wrapped}\nclean {results.scores(name)["clean", 0]:.{places}f}'
    found = summaries(results)
    mean = np.mean(list(found[name]['mean'].values()))
    base = np.mean(list(found[results.checkpoints[0].name]['mean'].values()))
    return f'{wrapped}\nclean {panel["clean", 0]:+.{places}f}, mean {mean - base:+.{places}f}'
