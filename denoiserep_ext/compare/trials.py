"""Trials of several models and seeds, several at a time, and what they add up to."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

from tqdm import tqdm

from ..robustness.over_seeds import OverSeeds, read_runs
from .denoised import Trial
from .programs import stop_programs


def run_trials(trials: Sequence[Trial], jobs: int) -> list[dict[str, Any]]:
    """Run trials with signs of life.

    Args:
        trials: What to do.
        jobs: Trials at a time.

    Returns:
        Their results, in the same order.

    Raises:
        RuntimeError: if a program fails; the others are ended, and what is done stays done.
    """
    pause = 2 if sys.stderr.isatty() else 20  # seconds between progress lines
    told = [0] * len(trials)
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=1, unit='step', mininterval=0) as bar:
        futures = [pool.submit(trial.run) for trial in trials]
        try:
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, pause, return_when=FIRST_COMPLETED)
                for number, trial in enumerate(trials):
                    for event in trial.events[told[number]:]:
                        bar.write(event)
                        told[number] += 1
                for future in done:
                    future.result()
                bar.total, bar.n = sum(t.steps for t in trials), sum(t.done for t in trials)
                bar.initial = sum(t.reused for t in trials)  # took no time: none to estimate by
                under_way = [t.status() for t, f in zip(trials, futures) if f.running()]
                bar.set_postfix_str(' | '.join(text[:70] for text in under_way))
        except BaseException:
            for future in futures:
                future.cancel()
            stop_programs()  # the pool would wait for them
            raise
    return [future.result() for future in futures]


def gather_trials(trials: Sequence[Trial], results: Sequence[dict[str, Any]]) -> list[OverSeeds]:
    """Scores over seeds, by model."""
    files: dict[str, list] = {}
    for trial, result in zip(trials, results):
        files.setdefault(trial.name, []).append(result['scores'])
    return [read_runs(name, own) for name, own in files.items()]


def judged(trials: Sequence[Trial], results: Sequence[dict[str, Any]]) -> list[str]:
    """In how many seeds the judge found a gain: a line per model and row."""
    found: dict[tuple[str, str], list[bool]] = {}
    for trial, result in zip(trials, results):
        for row, gains in result['gains'].items():
            found.setdefault((trial.name, row), []).append(gains)
    return [f'{name}, {row}: the judge, without labels, found a gain in {sum(gains)} of {len(gains)} '
            f'seeds' + ('' if all(gains) else '; without one the row is the plain model')
            for (name, row), gains in found.items()]
