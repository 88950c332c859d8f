"""Forwards of which only the unfinished part is computed."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from ..layer.layer_types import is_candidate
from ..memory import trim_memory
from .store import Store
from .tracing import END, INPUT, Trace

UNIT_LAYERS = 8  # most layers in a part that is run as a whole


class Run(NamedTuple):
    """One forward: which images, and in which state of the model.

    Attributes:
        item: Number of the images' batch.
        stream: 0: clean images through the trained model; 1: clean images through the denoised one;
            2, 3, ...: worse images through the denoised one, a corruption each.
    """

    item: int
    stream: int


def images_of(run: Run) -> Run:
    """The run whose images a run is of: the trained model sees those of the clean stream."""
    return run._replace(stream=max(run.stream, 1))


class _Stop(BaseException):
    """Ends a forward early; no ``except Exception`` on the way takes it for a failure."""


def stop() -> None:
    """End the current forward; :meth:`Replay.run` returns None."""
    raise _Stop


def find_units(model: nn.Module) -> dict[str, nn.Module]:
    """The parts that are run and remembered as a whole: residual and transformer blocks, usually.

    Containers are opened, and so is what holds more than ``UNIT_LAYERS`` layers.
    """
    units: dict[str, nn.Module] = {}
    seen: set[nn.Module] = set()

    def walk(name: str, module: nn.Module) -> None:
        if module in seen:
            return
        seen.add(module)
        children = list(module.named_children())
        opened = isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) or not name
        layers = sum(is_candidate(inner) for inner in module.modules())
        if children and (opened or layers > UNIT_LAYERS):
            for child, inner in children:
                walk(f'{name}.{child}' if name else child, inner)
        else:
            units[name] = module

    walk('', model)
    return units


def open_units(units: dict[str, nn.Module], called: Iterable[str],
               layers: Iterable[str]) -> dict[str, nn.Module]:
    """The same parts, but those that were never called although layers in them were (their parent runs
    their children itself) are replaced by their children."""
    called, layers, result = set(called), list(layers), {}
    for name, unit in units.items():
        prefix = f'{name}.' if name else ''
        if name in called or not any(layer.startswith(prefix) for layer in layers):
            result[name] = unit
        else:
            result.update({f'{prefix}{child}': inner for child, inner in unit.named_children()})
    return result


class Replay:
    """Runs a model part by part. The outputs of finished parts are kept as long as anything reads them
    and handed out instead of being computed again.

    Args:
        model: The model, in evaluation mode.
        forward: ``(model, batch) -> output``.
        units: Its parts.
        trace: Who reads what.
        store: Where outputs are kept.
    """

    def __init__(self, model: nn.Module, forward: Callable[[nn.Module, Any], Any],
                 units: dict[str, nn.Module], trace: Trace, store: Store) -> None:
        self.model, self.forward, self.store = model, forward, store
        self.order = list(trace.calls)
        self.units = {name: units[name] for name in self.order}
        self.calls = trace.calls
        place = {name: index for index, name in enumerate(self.order)} | {END: len(self.order)}
        self.last_reader = {
            name: max((place[reader] for reader, read in trace.reads.items() if name in read),
                      default=-1) for name in (INPUT, *self.order)}
        self._counts: dict[str, int] = {}
        self._run: Run | None = None
        self._recorded: list[str] = []
        self._complete: Callable[[], bool] = lambda: True

    @torch.no_grad()
    def run(self, run: Run) -> Any:
        """One forward, within :meth:`at`.

        Returns:
            The model's output, or None if it was stopped.
        """
        self._run, self._counts = run, dict.fromkeys(self.order, 0)
        try:
            return self.forward(self.model, self.store.get((INPUT, 0, images_of(run))))
        except _Stop:
            return None

    @contextmanager
    def at(self, start: int, record: int = 0,
           complete: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Within the context, forwards take the outputs of the first ``start`` parts from the store.

        Args:
            start: Number of finished parts.
            record: How many of the next parts to keep the outputs of, as far as parts behind them read
                those; the forward stops behind them. 0: keep none and do not stop.
            complete: Whether whoever else looks at the forward has seen enough of it to stop.
        """
        self._recorded, self._complete = self.order[start:start + record], complete
        replaced = {name: self._stub(name) for name in self.order[:start]}
        replaced.update({name: self._recorder(name, self._read_behind(name, start + record))
                         for name in self._recorded})
        own = {name: self.units[name].__dict__.get('forward') for name in replaced}
        try:
            for name, function in replaced.items():
                self.units[name].forward = function
            yield
        finally:
            for name, function in own.items():
                if function is None:
                    self.units[name].__dict__.pop('forward', None)
                else:
                    self.units[name].forward = function

    def release(self, finished: int, runs: Iterable[Run]) -> None:
        """Free what no part behind the first ``finished`` ones reads."""
        runs = list(runs)
        for name in (INPUT, *self.order[:finished]):
            if self.last_reader[name] < finished:
                for run in runs:
                    for call in range(self.calls.get(name, 1)):
                        if (name, call, run) in self.store:
                            self.store.forget((name, call, run))
        trim_memory()

    def _read_behind(self, name: str, finished: int) -> bool:
        """Whether a part behind the first ``finished`` ones reads an output, and not only the caller."""
        return finished < len(self.order) and self.last_reader[name] >= finished

    def _stub(self, name: str) -> Callable:
        def stub(*_args, **_kwargs):
            return self.store.get(self._key(name))

        return stub

    def stop_if_complete(self) -> None:
        """End the forward if all that was asked of it is there."""
        if self._complete() and all(self._counts[each] == self.calls[each] for each in self._recorded):
            stop()

    def _recorder(self, name: str, values: bool) -> Callable:
        original = self.units[name].forward

        def recorder(*args, **kwargs):
            output = original(*args, **kwargs)
            with _disable_current_modes():  # a copy is none of the model's operations
                self.store.put(self._key(name), output, values)
            self.stop_if_complete()
            return output

        return recorder

    def _key(self, name: str) -> tuple[str, int, Run]:
        call = self._counts[name]
        self._counts[name] += 1
        if call >= self.calls[name]:
            raise ValueError(f'{name} is called {self.calls[name]} times for some images and more often '
                             f'for others: leave it out of layers.')
        return name, call, self._run
