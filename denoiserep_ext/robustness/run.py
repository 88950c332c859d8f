"""From checkpoints to a table of robustness, cell by cell."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ..corruptions.names import SEVERITIES, Corruption, expand
from .cells import Cells, Checkpoint
from .host import Host


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        corruptions: Names or groups of corruptions.
        severities: Of each, 1 to 5.

    Raises:
        ValueError: for one that there is not.
    """

    corruptions: Sequence[str] = ('benchmark', )
    severities: Sequence[int] = SEVERITIES

    def __post_init__(self) -> None:
        object.__setattr__(self, 'corruptions', expand(self.corruptions))
        if not self.severities:
            raise ValueError('No severity is named.')
        for severity in self.severities:
            Corruption(self.corruptions[0], severity)
        object.__setattr__(self, 'severities', tuple(sorted(set(self.severities))))

    @property
    def cells(self) -> list[Corruption | None]:
        """The clean test set, then every corruption at every severity."""
        return [None, *(Corruption(name, severity) for name in self.corruptions
                        for severity in self.severities)]


@dataclass
class Results:
    """Every metric of every cell.

    Attributes:
        metric: The metric that counts; higher is better.
        images: How many images were scored, in words.
        metrics: By checkpoint's name, then by ``(corruption, severity)``; ``('clean', 0)`` among them.
    """

    plan: Plan
    checkpoints: Sequence[Checkpoint]
    metric: str
    images: str
    metrics: dict[str, dict[tuple[str, int], dict[str, float]]] = field(repr=False)

    def scores(self, checkpoint: str, metric: str | None = None) -> dict[tuple[str, int], float]:
        """One metric of one checkpoint, by cell."""
        return {cell: metrics[metric or self.metric]
                for cell, metrics in self.metrics[checkpoint].items()}


def require_applicable(host: Host, plan: Plan) -> None:
    """See that every corruption can be put on the test images, before hours are spent.

    Raises:
        ValueError: naming those that cannot, and why.
    """
    refused: dict[str, str] = {}
    for name in plan.corruptions:
        try:
            host.probe(Corruption(name, plan.severities[0]))
        except ValueError as error:
            refused[name] = str(error)
    if refused:
        kept = [name for name in plan.corruptions if name not in refused]
        raise ValueError(f'{", ".join(refused)} cannot be put on the test images: '
                         f'{next(iter(refused.values()))}'
                         + (f' These can: --corruptions {" ".join(kept)}' if kept else ''))


def measure(host: Host, checkpoints: Sequence[Checkpoint], plan: Plan, out: Path) -> Results:
    """Score checkpoints on every cell that has not been scored yet.

    Args:
        host: The checkpoints' models in the same order, the test set and the evaluator.
        checkpoints: What cells are kept by.
        plan: What to measure.
        out: Folder whose ``cells`` keeps every score as it comes; what is there is not done again.

    Raises:
        ValueError, ImportError: if a corruption cannot be put on the test images.
    """
    store = Cells(out / 'cells', host.settings)
    found = {(c.name, cell): store.read(c, cell) for c in checkpoints for cell in plan.cells}
    missing = {cell: [i for i, c in enumerate(checkpoints) if found[c.name, cell] is None]
               for cell in plan.cells}
    if any(missing.values()):
        require_applicable(host, plan)
    done = sum(metrics is not None for metrics in found.values())
    if done:
        print(f'{done} of {len(found)} cells are in {store.folder} already')
    metric = None
    with tqdm(total=len(found), initial=done, desc='cells', unit='cell') as progress:
        for cell, models in missing.items():
            if models:
                for i, metrics in zip(models, host.score(models, cell)):
                    store.write(checkpoints[i], cell, metrics)
                    found[checkpoints[i].name, cell] = metrics
                    progress.update()
            # A wish that cannot be is found with the clean cell, not at the end.
            metric = metric or host.main_metric(found[checkpoints[0].name, cell])
    # Of a detector that finds nothing at all MMDetection reports nothing.
    nothing = dict.fromkeys(found[checkpoints[0].name, plan.cells[0]], 0.0)
    metrics = {c.name: {(cell.name, cell.severity) if cell else ('clean', 0):
                        found[c.name, cell] or nothing for cell in plan.cells}
               for c in checkpoints}
    return Results(plan, checkpoints, metric, host.images, metrics)
