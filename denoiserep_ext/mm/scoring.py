"""What a config's own evaluator says of models on a data set."""
from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

METRICS = ('accuracy/top1', 'coco/bbox_mAP', 'mIoU')  # what the fields look at first


@torch.no_grad()
def score(models: Sequence[nn.Module], dataset: Dataset, evaluator: Any, meta: dict, batch_size: int,
          workers: int, progress: str | None = None, leave: bool = True) -> list[dict[str, float]]:
    """Score models side by side: every image is read once for all of them.

    Args:
        models: In evaluation mode.
        dataset: Samples of the config's test pipeline.
        evaluator: Its node of the config.
        meta: The data set's ``metainfo``.
        batch_size: Images per batch.
        workers: Loading processes.
        progress: Description of a progress bar, None for no bar.
        leave: Whether the bar stays.

    Returns:
        Every single number that the evaluator reports, for each model.
    """
    evaluators = [Evaluator(copy.deepcopy(evaluator)) for _ in models]
    loader = DataLoader(dataset, batch_size, collate_fn=pseudo_collate, num_workers=workers)
    for batch in tqdm(loader, desc=progress, unit='batch', disable=progress is None, leave=leave):
        for model, own in zip(models, evaluators):
            own.dataset_meta = meta
            samples = batch if len(models) == 1 else copy.deepcopy(batch)  # predictions go into samples
            own.process(data_samples=model.test_step(samples), data_batch=samples)
    with quiet():
        return [_numbers(own.evaluate(len(dataset))) for own in evaluators]


def main_metric(metrics: dict[str, float], wanted: str | None = None) -> str:
    """The metric that counts: the one that is wanted, or the task's usual one.

    Raises:
        ValueError: if it is not among them, naming those that are, or if there are none.
    """
    if not metrics:
        raise ValueError('The evaluator reports nothing: the model finds nothing in the clean images.')
    if wanted is None:
        return next((name for name in METRICS if name in metrics), next(iter(metrics)))
    if wanted not in metrics:
        raise ValueError(f'The evaluator reports no {wanted!r}: {", ".join(metrics)}.')
    return wanted


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()
            if isinstance(value, (int, float)) or getattr(value, 'size', 0) == 1}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the tables that evaluators log and print: a sweep would bury its own."""
    logging.disable(logging.INFO)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
