"""Several runs of one measurement, a seed each, in one: mean and standard deviation."""
from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLEAN, FILE = 'clean', 'robustness.json'


@dataclass(frozen=True)
class OverSeeds:
    """One model's scores over seeds.

    Args:
        name: What the model is called.
        metric: The metric; higher is better.
        images: How many images were scored, in words.
        severities: Of every corruption; its score is the mean over them.
        rows: Names of the checkpoints that were measured side by side; the first is the reference.
        columns: ``'clean'``, then corruptions.
        scores: By row and column, one score per seed.
    """

    name: str
    metric: str
    images: str
    severities: tuple[int, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    scores: Mapping[str, Mapping[str, Sequence[float]]]

    @property
    def seeds(self) -> int:
        """How many runs there are."""
        return len(self.scores[self.rows[0]][CLEAN])

    @property
    def decimals(self) -> int:
        """Decimals to print: 2 of percentages, 4 of shares of one."""
        every = (abs(s) for own in self.scores.values() for scores in own.values() for s in scores)
        return 4 if all(score <= 1 for score in every) else 2

    def mean(self, row: str, columns: Sequence[str]) -> list[float]:
        """The mean over columns, for each seed."""
        return [statistics.fmean(each) for each in zip(*(self.scores[row][c] for c in columns))]


def runs_below(folder: Path) -> list[Path]:
    """What ``tools/robustness.py`` left anywhere below a folder.

    Raises:
        FileNotFoundError: if there is nothing.
    """
    files = sorted(folder.rglob(FILE))
    if not files:
        raise FileNotFoundError(f'{folder}: there is no {FILE} here or below. Run tools/robustness.py '
                                f'once per seed, with --out below this folder.')
    return files


def read_runs(name: str, files: Iterable[Path]) -> OverSeeds:
    """Runs of one model, a seed each.

    Args:
        name: What the model is called.
        files: ``robustness.json`` files.

    Raises:
        ValueError: naming a file that is none of these, or two runs that do not measure the same.
    """
    return gather(name, {str(file): _read(file) for file in files})


def _read(file: Path) -> dict[str, Any]:
    try:
        run = json.loads(file.read_text())
        run['metric'], run['checkpoints'], run['summary'][run['metric']]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{file} is not what tools/robustness.py writes.') from error
    return run


def gather(name: str, runs: Mapping[str, dict[str, Any]]) -> OverSeeds:
    """Put runs together.

    Args:
        name: What the model is called.
        runs: Content of ``robustness.json`` files, by file.

    Raises:
        ValueError: naming two runs that do not measure the same.
    """
    (first, reference), *others = runs.items()
    for file, run in others:
        for what in ('metric', 'images', 'severities', 'corruptions', 'rows'):
            if _part(run, what) != _part(reference, what):
                raise ValueError(f'{first} and {file} differ in {what} ({_part(reference, what)} and '
                                 f'{_part(run, what)}): only runs of the same measurement have a mean.')
    rows, corruptions = _part(reference, 'rows'), reference['corruptions']
    summaries = [run['summary'][run['metric']] for run in runs.values()]
    scores = {row: {CLEAN: [summary[row]['clean'] for summary in summaries],
                    **{c: [summary[row]['mean'][c] for summary in summaries] for c in corruptions}}
              for row in rows}
    return OverSeeds(name, reference['metric'], reference['images'], tuple(reference['severities']),
                     tuple(rows), (CLEAN, *corruptions), scores)


def _part(run: dict[str, Any], what: str) -> Any:
    return [c['name'] for c in run['checkpoints']] if what == 'rows' else run[what]


def ordered(model: OverSeeds, fitted: Sequence[str]) -> list[str]:
    """Columns: clean, corruptions that were fitted to, the others."""
    known = (CLEAN, *fitted)
    return sorted(model.columns, key=lambda c: known.index(c) if c in known else len(known))
