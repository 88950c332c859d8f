"""Table and figures of several runs, a seed each."""
from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.files.writing import write_json
from ..paired import interval
from .over_seeds import CLEAN, OverSeeds, ordered
from .over_seeds_picture import save_picture


def spread(scores: Sequence[float]) -> float:
    """Standard deviation (n - 1); nan of one score."""
    return statistics.stdev(scores) if len(scores) > 1 else math.nan


def table(models: Sequence[OverSeeds], fitted: Sequence[str] = ()) -> str:
    """Mean and standard deviation per row and column, a block per model.

    Args:
        models: What was measured.
        fitted: Corruptions that checkpoints were fitted to; the others stand behind a bar. None: no bar.
    """
    return '\n\n'.join(_block(model, fitted) for model in models)


def _block(model: OverSeeds, fitted: Sequence[str]) -> str:
    columns = ordered(model, fitted)
    rows = [['', *columns], *([row, *(_text(model, row, c) for c in columns)] for row in model.rows)]
    bar = len(columns) - sum(c not in (CLEAN, *fitted) for c in columns) if fitted else None
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
        if bar is not None and bar < len(columns):
            cells.insert(bar + 1, '|')
        lines.append('  '.join(cells))
    severities = ', '.join(map(str, model.severities))
    head = (f'{model.name}: {model.metric}, mean ± standard deviation over {model.seeds} seeds; '
            f'severity {severities}; {model.images}')
    return '\n'.join([head, lines[0], '-' * len(lines[0]), *lines[1:], *differences(model, fitted)])


def _text(model: OverSeeds, row: str, column: str) -> str:
    scores, places = model.scores[row][column], model.decimals
    mean = f'{statistics.fmean(scores):.{places}f}'
    return mean if len(scores) < 2 else f'{mean} ± {spread(scores):.{places}f}'


def differences(model: OverSeeds, fitted: Sequence[str] = ()) -> list[str]:
    """One line per further row: how it differs from the first one, paired by seed."""
    worse = model.columns[1:]
    groups = {'clean': [CLEAN], 'worse images': [] if fitted else worse,
              'fitted to': [c for c in worse if c in fitted],
              'not fitted to': [c for c in worse if fitted and c not in fitted]}
    first, *others = model.rows
    lines = []
    for row in others:
        parts = [f'{name} {_difference(model, row, first, columns)}'
                 for name, columns in groups.items() if columns]
        lines.append(f'{row} - {first}: {"; ".join(parts)}')
    if others and model.seeds > 1:
        lines.append('(in brackets: 95 % interval of the mean difference, by seed)')
    return lines


def _difference(model: OverSeeds, row: str, first: str, columns: Sequence[str]) -> str:
    gains = [ours - theirs for ours, theirs in zip(model.mean(row, columns), model.mean(first, columns))]
    (mean, half), places = interval(gains), model.decimals
    if len(gains) < 2:
        return f'{mean:+.{places}f}'
    return f'{mean:+.{places}f} ({mean - half:+.{places}f} to {mean + half:+.{places}f})'


def figures(models: Sequence[OverSeeds]) -> dict[str, Any]:
    """Everything as plain data, by model."""
    return {model.name: {
        'metric': model.metric, 'images': model.images, 'severities': list(model.severities),
        'seeds': model.seeds,
        'rows': {row: {column: {'mean': statistics.fmean(scores),
                                'std': spread(scores) if len(scores) > 1 else None,
                                'scores': list(scores)}
                       for column, scores in model.scores[row].items()} for row in model.rows}}
        for model in models}


def save_summary(models: Sequence[OverSeeds], folder: Path, fitted: Sequence[str] = ()) -> list[Path]:
    """Write ``summary.json`` and ``summary.png``; see :func:`table`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / 'summary.json', folder / 'summary.png']
    write_json(figures(models), files[0])
    save_picture(models, files[1], fitted)
    return files
