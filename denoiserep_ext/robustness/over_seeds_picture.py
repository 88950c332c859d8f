"""Picture of several runs, a seed each."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..drawing import COLOURS, MARKERS, pyplot, save
from .over_seeds import CLEAN, OverSeeds, ordered


def save_picture(models: Sequence[OverSeeds], path: Path, fitted: Iterable[str] = ()) -> None:
    """Mean, standard deviation and every seed, by row, for each column; one panel per model.

    Args:
        models: What was measured.
        path: Picture to write.
        fitted: Corruptions that checkpoints were fitted to; others are set apart.
    """
    fitted = list(fitted)
    most = max(len(model.columns) for model in models)
    one_metric = len({model.metric for model in models}) == 1
    figure, panels = pyplot().subplots(
        len(models), 1, squeeze=False, sharey=one_metric, layout='constrained',
        figsize=(1.5 * most + 1.5, 3.2 * len(models) + 0.8))
    styles = styles_of(models)
    entries: dict[str, Any] = dict.fromkeys(styles)
    for axes, model in zip(panels[:, 0], models):
        _draw(axes, model, ordered(model, fitted), fitted, styles)
        entries.update({label: handle for handle, label in zip(*axes.get_legend_handles_labels())})
    figure.legend(entries.values(), entries.keys(), loc='outside upper center',
                  ncols=min(len(entries), 4), fontsize=9)
    save(figure, path)


def styles_of(models: Sequence[OverSeeds]) -> dict[str, tuple[str, str]]:
    """Colour and marker of every row; one of several models has one style."""
    longest_first = sorted(models, key=lambda model: -len(model.rows))
    names = dict.fromkeys(row for model in longest_first for row in model.rows)
    return {name: (COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
            for number, name in enumerate(names)}


def _draw(axes, model: OverSeeds, columns: Sequence[str], fitted: Sequence[str],
          styles: Mapping[str, tuple[str, str]]) -> None:
    step = 0.7 / len(model.rows)
    for number, row in enumerate(model.rows):
        places = np.arange(len(columns)) + (number - (len(model.rows) - 1) / 2) * step
        scores = np.array([model.scores[row][column] for column in columns])
        colour, marker = styles[row]
        error = scores.std(1, ddof=1) if model.seeds > 1 else None
        axes.errorbar(places, scores.mean(1), error, fmt=marker, color=colour, capsize=4, markersize=7,
                      label=row)
        for seed in scores.T:
            axes.plot(places + 0.3 * step, seed, '.', color=colour, markersize=4, alpha=0.6)
    known = sum(column in (CLEAN, *fitted) for column in columns) if fitted else len(columns)
    for edge in {1, known} - {len(columns)}:
        axes.axvline(edge - 0.5, color='0.6', linewidth=0.8, linestyle='--' if edge == known else '-')
    if known < len(columns):
        axes.text(known - 0.45, 1.0, 'not fitted to', transform=axes.get_xaxis_transform(), va='bottom',
                  fontsize=8, color='0.3')
    axes.set_xticks(range(len(columns)), [column.replace('_', ' ') for column in columns], fontsize=9)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    unit = ' (%)' if model.decimals == 2 else ''
    axes.set_ylabel(f'{model.metric}{unit}', fontsize=9)
    axes.set_title(f'{model.name}: mean ± standard deviation and each of {model.seeds} seeds, severity '
                   f'{", ".join(map(str, model.severities))}', fontsize=9, loc='left', pad=14)
    axes.grid(axis='y', alpha=0.3)
