"""Tables and a picture of the benchmark's rows."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from denoiserep_ext.core.files.writing import parked

Rows = list[dict[str, Any]]


def table(rows: Rows) -> str:
    """Rows of the same keys in columns."""
    head = list(rows[0])
    lines = [head, *([_cell(row[key]) for key in head] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ['  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    return '\n'.join([text[0], '-' * max(map(len, text)), *text[1:]])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.3f}' if value < 100 else f'{value:.0f}'
    return ' / '.join(map(str, value)) if isinstance(value, list) else str(value)


def save_picture(results: dict[str, Rows], path: Path) -> bool:
    """Ratios of steps and of passes to their plain ones; whether there were any to draw."""
    sections = [name for name in ('training', 'pass') if results.get(name)]
    if not sections:
        return False
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(1, len(sections), figsize=(7 * len(sections), 4.5),
                                layout='constrained', squeeze=False)
    for section, ax in zip(sections, axes[0]):
        rows = results[section]
        names = [f'{row["model"]}, batch {row["batch size"]}: {row["variant"]}' for row in rows]
        ax.barh(range(len(rows)), [row['ratio'] for row in rows])
        ax.set_yticks(range(len(rows)), names, fontsize=7)
        ax.invert_yaxis()
        ax.axvline(1.0, color='black', linestyle='--')
        ax.set(xlabel='time over plain', title='training step' if section == 'training' else 'one pass')
    with parked(path) as partial:
        figure.savefig(partial, dpi=110, format=path.suffix[1:])
    plt.close(figure)
    return True
