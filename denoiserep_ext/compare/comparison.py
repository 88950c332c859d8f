"""All stages of a comparison, several at a time, and what they add up to."""
from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..paired import interval
from .programs import stop_programs, threads_each
from .stages import ROWS, Host, Stage


@dataclass
class Comparison:
    """Baseline, control and DenoiseRep over several seeds.

    Args:
        host: The toolbox.
        config: Config with DenoiseRep: the budget and start of the third row. The second row is the
            same config without it.
        work_dir: Where everything goes; what is done there already is not done again.
        seeds: Seeds of the runs.
        baseline: Config that trains a baseline for each seed; or None, then ``checkpoint`` is the
            baseline of all seeds.
        checkpoint: A trained baseline.
        jobs: Programs at a time; they share the CPU cores.

    Raises:
        ValueError: unless exactly one of ``baseline`` and ``checkpoint`` is given.
        FileNotFoundError: if the checkpoint does not exist.
    """

    host: Host
    config: Any
    work_dir: Path
    seeds: list[int]
    baseline: Any | None = None
    checkpoint: Path | None = None
    jobs: int = 1

    def __post_init__(self) -> None:
        if (self.baseline is None) == (self.checkpoint is None):
            raise ValueError('Give either a config that trains the baseline or its checkpoint.')
        if self.checkpoint is not None and not Path(self.checkpoint).is_file():
            raise FileNotFoundError(f'{self.checkpoint}: no such checkpoint.')
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f'seeds must be different numbers, got {self.seeds}.')
        self.stock = self.host.control(self.config)

    def run(self) -> list[dict]:
        """Run every stage.

        Returns:
            The stages' results, by row and seed.

        Raises:
            RuntimeError: if a program of a stage fails; what others finished stays done.
        """
        stages = 3 * len(self.seeds)
        pause = 2 if sys.stderr.isatty() else 20  # seconds between progress lines
        results: list[dict] = []
        with ThreadPoolExecutor(self.jobs) as pool, tqdm(
                total=stages, unit='stage', desc=self.work_dir.name, mininterval=0) as bar:
            running: dict[Future, Stage] = {
                pool.submit(stage.run): stage for stage in map(self._baseline_stage, self.seeds)}
            try:
                while running:
                    done, _ = wait(running, pause, return_when=FIRST_COMPLETED)
                    for future in done:
                        stage, result = running.pop(future), future.result()
                        results.append(result)
                        bar.write(_line(stage, result))
                        bar.n += 1
                        bar.initial += bool(result.get('reused'))  # took no time: none to estimate by
                        if stage.row == 'baseline':
                            for row in ROWS[1:]:
                                extra = self._stage(row, stage.seed, Path(result['checkpoint']))
                                running[pool.submit(extra.run)] = extra
                    bar.set_postfix_str(', '.join(f'{s.name}: {s.last_line()}' for s in
                                                  running.values() if s.started)[:110])
            except BaseException as error:
                for future in running:
                    future.cancel()
                if isinstance(error, KeyboardInterrupt):
                    stop_programs()  # the pool would wait for them
                raise
        return sorted(results, key=lambda r: (ROWS.index(r['row']), r['seed']))

    def _baseline_stage(self, seed: int) -> Stage:
        if self.baseline is None:
            return self._stage('baseline', seed, self.checkpoint, train=None)
        return self._stage('baseline', seed, None, train=self.baseline)

    def _stage(self, row: str, seed: int, checkpoint: Path | None, **change) -> Stage:
        train = {'control': self.stock, 'denoiserep': self.config}.get(row)
        return Stage(host=self.host, row=row, seed=seed, folder=self.work_dir / f'seed{seed}' / row,
                     **{'train': train, **change}, test=self.stock, checkpoint=checkpoint,
                     threads=threads_each(self.jobs))


def summarise(results: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and standard deviation (n - 1; nan for one seed) of every metric, by row."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for row in ROWS:
        of_row = [result['metrics'] for result in results if result['row'] == row]
        summary[row] = {
            metric: {
                'mean': statistics.fmean(values),
                'std': statistics.stdev(values) if len(values) > 1 else float('nan'),
                'n': len(values),
            }
            for metric in of_row[0] for values in [[m[metric] for m in of_row]]
        }
    return summary


def decimals(values: Iterable[float]) -> int:
    """Decimals to print of a metric: 2 of percentages, 4 of shares of one (COCO's AP)."""
    return 4 if all(abs(value) <= 1 for value in values) else 2


def verdict(results: list[dict], metric: str) -> str:
    """One plain sentence on DenoiseRep against the control, from the differences per seed."""
    by_seed = {(r['row'], r['seed']): r['metrics'][metric] for r in results}
    seeds = sorted({r['seed'] for r in results})
    gains = [by_seed['denoiserep', s] - by_seed['control', s] for s in seeds]
    mean, places = statistics.fmean(gains), decimals(by_seed.values())
    if len(gains) < 2:
        return (f'{metric}: DenoiseRep minus control {mean:+.{places}f} for one seed: no statement '
                f'about noise is possible.')
    half = interval(gains)[1]
    text = (f'{metric}: DenoiseRep minus control {mean:+.{places}f} (95 % interval '
            f'{mean - half:+.{places}f} to {mean + half:+.{places}f}, {len(gains)} seeds)')
    if not any(gains):
        return f'{text}: no difference at all.'
    if abs(mean) <= half:
        return f'{text}: no difference beyond the noise of the seeds.'
    return f'{text}: {"higher" if mean > 0 else "lower"} than the control.'


def _line(stage: Stage, result: dict) -> str:
    metrics = ', '.join(f'{name} {value:.4g}' for name, value in result['metrics'].items())
    how = 'as before' if result.get('reused') else f'{result["seconds"]:.0f} s'
    return f'{stage.name:<20} {metrics} ({how})'
