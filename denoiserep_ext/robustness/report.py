"""Table, JSON and CSV of a robustness measurement."""
from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.files.writing import parked
from .run import Results
from .summary import summarise


def decimals(results: Results) -> int:
    """Decimals to print: 2 of percentages, 4 of shares of one (COCO's AP)."""
    values = [value for c in results.checkpoints for value in results.scores(c.name).values()]
    return 4 if all(abs(value) <= 1 for value in values) else 2


def summaries(results: Results, metric: str | None = None) -> dict[str, dict[str, Any]]:
    """:func:`~denoiserep_ext.robustness.summary.summarise` of every checkpoint; mCE refers to the
    first."""
    metric = metric or results.metric
    scores = {c.name: results.scores(c.name, metric) for c in results.checkpoints}
    reference = scores[results.checkpoints[0].name]
    return {name: summarise(metric, own['clean', 0], own, reference, results.plan.corruptions,
                            results.plan.severities) for name, own in scores.items()}


def table(results: Results) -> str:
    """The metric that counts, mean over severities, with the difference to the first checkpoint."""
    found, places = summaries(results), decimals(results)
    names = [c.name for c in results.checkpoints]
    rows = [['', *names]]
    rows += [[label, *_row(values, 2 if label.endswith(('rPC', 'mCE')) else places)]
             for label, values in _lines(found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ['  '.join([row[0].ljust(widths[0]),
                        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
             for row in rows]
    severities = ', '.join(map(str, results.plan.severities))
    head = f'{results.metric}, mean over severities {severities}; {results.images}'
    notes = ['mPC: mean performance under corruption; rPC: mPC in % of clean']
    if any('mCE' in group for group in found[names[0]]['groups'].values()):
        notes.append(f'mCE: mean corruption error in % of that of {names[0]}; lower is better')
    if len(names) > 1:
        notes.append(f'in brackets: difference to {names[0]}')
    return '\n'.join([head, lines[0], '-' * len(lines[0]), *lines[1:], *notes])


def _lines(found: dict[str, dict]) -> Iterator[tuple[str, list[float]]]:
    first = next(iter(found.values()))
    yield 'clean', [own['clean'] for own in found.values()]
    for name in first['mean']:
        yield name, [own['mean'][name] for own in found.values()]
    for group, figures in first['groups'].items():
        for figure in figures:
            yield f'{group}: {figure}', [own['groups'][group][figure] for own in found.values()]


def _row(values: list[float], places: int) -> list[str]:
    def text(value: float, sign: str = '') -> str:
        return '-' if math.isnan(value) else f'{value:{sign}.{places}f}'
    first, *others = values
    return [text(first), *(f'{text(value)} ({text(value - first, "+")})' for value in others)]


def figures(results: Results) -> dict[str, Any]:
    """Everything as plain data, what is no number as None."""
    common = set.intersection(*(set(metrics) for own in results.metrics.values()
                                for metrics in own.values()))
    first = next(iter(next(iter(results.metrics.values())).values()))
    return _plain({
        'metric': results.metric, 'images': results.images,
        'corruptions': list(results.plan.corruptions), 'severities': list(results.plan.severities),
        'checkpoints': [{'name': c.name, 'file': str(c.path), 'sha256': c.digest}
                        for c in results.checkpoints],
        'summary': {metric: summaries(results, metric) for metric in first if metric in common},
        'cells': [{'checkpoint': name, 'corruption': corruption, 'severity': severity, **metrics}
                  for name, own in results.metrics.items()
                  for (corruption, severity), metrics in own.items()]})


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def write_csv(results: Results, path: Path) -> None:
    """One line per cell with every metric."""
    cells = figures(results)['cells']
    columns = list(dict.fromkeys(key for cell in cells for key in cell))
    with parked(path) as partial, partial.open('w', newline='') as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(cells)
