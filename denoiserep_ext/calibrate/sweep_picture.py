"""Picture of a sweep: what every setting scores on the validation images."""
from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from ..drawing import COLOURS, MARKERS, pyplot, save
from .sweep import Point, Sweep

APART = 0.05  # between two curves at the same setting: decades of strength, or half columns


def save_picture(sweep: Sweep, path: Path, name: str) -> None:
    """The metric against strength or setting, one curve per noise with its 95 % interval, and the plain
    model's line; where the metric is a mean over conditions, each of them, too.

    Args:
        sweep: What was tried.
        path: File to write.
        name: What the model is called.
    """
    plain, points = sweep.plain, sweep.points
    columns = _columns(points)
    kinds = list(dict.fromkeys(point.setting.kind for point in points))
    curves = len(kinds) + len(plain.parts)
    line = '-' if columns is None else 'none'  # between settings in words there is nothing
    figure, axes = pyplot().subplots(figsize=(8.5, 4.8), layout='constrained')
    axes.axhline(plain.value, color='black', linestyle='--',
                 label='plain model' + ': mean (dotted: each condition)' * bool(plain.parts))
    for number, kind in enumerate(kinds):
        own = [point for point in points if point.setting.kind == kind]
        axes.errorbar(_places(own, columns, number, curves), [plain.value + p.gain for p in own],
                      [p.half for p in own], marker=MARKERS[number], markersize=5, linestyle=line,
                      linewidth=1, capsize=3, color=COLOURS[number],
                      label=(f'{kind}: mean' if plain.parts else kind) + ', 95 % interval')
    for number, part in enumerate(plain.parts, start=len(kinds)):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(_places(points, columns, number, curves), [p.scores.parts[part] for p in points],
                  color=colour, marker=MARKERS[number % len(MARKERS)], markersize=5, linestyle=line,
                  label=part.replace('_', ' '))
        axes.axhline(plain.parts[part], color=colour, linewidth=0.8, linestyle=':')
    if columns is None:
        axes.set_xscale('symlog', linthresh=_least(points))  # strength 0 may be there, too
        axes.set_xlabel('strength (noise level)')
    else:
        axes.set_xticks(range(len(columns)), [column.replace(', ', '\n') for column in columns])
    axes.set_ylabel(f'{plain.metric} on validation images')
    by = 'strength' if columns is None else 'setting'
    axes.set_title(textwrap.fill(f'{name}: {plain.metric} by {by} of the noise that is taken out', 80),
                   fontsize=10)
    axes.tick_params(labelsize=8)
    axes.grid(axis='y', alpha=0.3)
    figure.legend(loc='outside lower center', ncols=3, fontsize=8)
    save(figure, path)


def _columns(points: Sequence[Point]) -> list[str] | None:
    """Settings that are told in words, in order; None where they are strengths."""
    levels = list(dict.fromkeys(point.setting.level for point in points))
    return levels if isinstance(levels[0], str) else None


def _places(points: Sequence[Point], columns: list[str] | None, number: int,
            curves: int) -> list[float]:
    """Where a curve has its points: beside those of the others, so that no interval hides another."""
    shift = min(APART, 0.4 / curves) * (number - (curves - 1) / 2)
    if columns is None:
        least = _least(points)
        return [level * 10**shift if level else shift * least for level in
                (point.setting.level for point in points)]
    return [columns.index(point.setting.level) + 2 * shift for point in points]


def _least(points: Sequence[Point]) -> float:
    return min(filter(None, (point.setting.level for point in points)))
