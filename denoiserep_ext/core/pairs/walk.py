"""Layer after layer, from the input to the output, on features that earlier layers have denoised."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import nn

from ..layer.auto import HEAD, PREDICTOR
from ..layer.folding import check_finite
from ..layer.selection import select
from ..trees import map_tensors
from .attention import opened_attention
from .collecting import Lacks, Place, Targets
from .config import RIDGES, PairConfig
from .court import Court
from .forms import solver
from .material import Material
from .plan import Progress, Steps, segments_of
from .positions import Positions
from .regression import Fit, fit_halves
from .replay import Replay, Run, find_units, open_units
from .report import PairLayer, PairReport
from .soundness import require_finite, require_independent
from .store import Store
from .tracing import INPUT, Trace, trace
from .writing import Trained, bias_place, changed_tensors, write_

_CHOSEN = ('its input depends on a choice made from the data (proposals, top-k), where clean and worse '
           'images cannot be paired')

Forward = Callable[[nn.Module, Any], Any]


@torch.no_grad()
def denoise_pairs_(model: nn.Module, pairs: Iterable[tuple[Any, Any]], config: PairConfig | None = None,
                   forward: Forward | None = None, progress: Progress | None = None) -> PairReport:
    """Denoise a trained model by images and worse versions of them, in place, without labels.

    Layer by layer, in call order, the weights become those of the best linear denoiser of what the
    layer reads, followed by the trained layer: ``min E |(W x_c + b) - (W' x + b')|^2`` with ``x_c`` the
    input in the trained network on the clean image, and ``x`` the input in the network denoised so far,
    on the worse one. The model has the same keys, shapes and types afterwards, and costs the same.

    In a process group every process gives pairs of its own, and all end with the same weights.

    Args:
        model: A trained model; it is run in evaluation mode. For classification give the whole model,
            so that the judge sees class scores.
        pairs: ``(clean, worse)`` batches of images of equal shapes, in any nesting that ``forward``
            takes; ``worse`` may be a list of batches, one per corruption. Read once.
        config: What is fitted and how; the defaults if None.
        forward: ``(model, batch) -> output``; by default the batch is moved to the model's device and
            the model is called with it. Features may be returned as nested tensors [images, ...].
        progress: Called with the share done, in [0, 1], and what is being done.

    Returns:
        The report: what was changed, by how much, and what the judge says.

    Raises:
        ValueError: if nothing is selected or pairs do not fit together; nothing is changed then.
        FloatingPointError: naming a layer whose features or weights are not finite; likewise.

    Source: regression of the trained layer's clean outputs on the patches of worse images, folded; it
    is section 3.3 of the paper (denoise, then embed) with a noise that is shown instead of assumed.
    """
    walk = _Walk(model, config or PairConfig(), forward or _call, progress or (lambda *_: None))
    modes = [(module, module.training) for module in model.modules()]
    trained = Trained()
    try:
        model.eval()
        with opened_attention(model):
            try:
                return walk.run(pairs, trained)
            except BaseException:
                trained.restore_()
                raise
    finally:
        for module, training in modes:
            module.training = training
        walk.store.close()


def _call(model: nn.Module, batch: Any) -> Any:
    device = next(model.parameters()).device
    return model(map_tensors(lambda x: x.to(device), batch))


@dataclass
class _Done:
    """One fitted layer of the current part."""

    place: Place
    fit: Fit
    size: float
    before: tuple[float, float]
    after: tuple[float, float]
    seconds: float
    share: float = 1.0  # of its step that the judge let stand


class _Walk:
    """One call of :func:`denoise_pairs_`."""

    def __init__(self, model: nn.Module, config: PairConfig, forward: Forward,
                 progress: Progress) -> None:
        self.model, self.config, self.forward, self.progress = model, config, forward, progress
        self.store = Store(config.memory, config.gpu_memory)
        self.layers: dict[str, PairLayer] = {}
        self.solving = 0.0

    def run(self, pairs: Iterable[tuple[Any, Any]], trained: Trained) -> PairReport:
        start = time.perf_counter()
        choice = select(self.model, self.config.layers)
        if self.config.heads:
            choice = {name: None if reason in (HEAD, PREDICTOR) else reason
                      for name, reason in choice.items()}
        modules = dict(self.model.named_modules())
        wanted = {name: modules[name] for name, reason in choice.items() if reason is None}
        for name, layer in wanted.items():
            check_finite(name, layer.weight, layer.bias)
        self.material = Material(pairs, self.config.held_out, self._keep)
        units, record = self._trace(wanted)
        self.replay = Replay(self.model, self.forward, units, record, self.store)
        self.constants = {t.untyped_storage().data_ptr()
                          for t in (*self.model.parameters(), *self.model.buffers())}
        places = self._places(wanted, record)
        segments = segments_of(self.replay.order, places)
        court = None
        if self.material.judged_by_all():
            court = Court(self.replay, self.material, self.store, self.config)
        steps = Steps(self.progress, sum(3 + len(own) for _, _, own in segments) - 1)
        for first, count, own in segments:
            self._fit_part(first, own, self._targets(first, count, own, steps), trained, court, steps)
            if first + count < len(self.replay.order):
                self._finish(first, count, steps)
        verdict = None if court is None else court.verdict()
        self.progress(1.0, 'done')
        if verdict is not None and not verdict.accepted:
            trained.restore_()
            self.layers = {name: _left(layer, 'the judge found no gain in the whole')
                           if layer.reason is None else layer for name, layer in self.layers.items()}
        rest = [PairLayer(name, self.reasons.get(name) or reason or 'not called')
                for name, reason in choice.items() if name not in self.layers]
        return PairReport((*self.layers.values(), *rest), self.material.fitted_by_all(), verdict,
                          time.perf_counter() - start, self.solving)

    # Set-up

    def _keep(self, item: int, streams: Sequence[Any]) -> None:
        for stream, batch in enumerate(streams, start=1):
            self.store.put((INPUT, 0, Run(item, stream)), batch)

    def _trace(self, wanted: dict[str, nn.Module]) -> tuple[dict[str, nn.Module], Trace]:
        small = self.material.sample(2)
        units = find_units(self.model)
        while True:
            record = trace(self.model, lambda: self.forward(self.model, small), small, units, wanted)
            opened = open_units(units, record.calls, record.layers)
            if opened.keys() == units.keys():
                break
            units = opened
        self.reasons = dict.fromkeys(record.chosen, _CHOSEN)
        one = self.forward(self.model, self.material.sample(1))
        require_independent(one, record.output)
        return units, record

    def _places(self, wanted: dict[str, nn.Module], record: Trace) -> list[Place]:
        pointwise = self.config.form == 'pointwise'
        names = [name for name in record.layers if name not in record.chosen]
        places = []
        for index, name in enumerate(names):
            out = record.exits[name]
            skip = self.config.skip and not pointwise and out.scale is not None
            places.append(Place(name, wanted[name], index, record.layers[name],
                                Positions(wanted[name], pointwise), out, skip))
        if not places:
            raise ValueError('The model calls none of the selected layers for these images, or only '
                             'behind a choice made from the data: select others.')
        return places

    # One part of the model

    def _targets(self, first: int, count: int, places: list[Place], steps: Steps) -> Targets:
        """What the trained layers of a part give; its outputs for clean images are kept."""
        targets = Targets(self.replay, places, self.config.positions, self.config.seed, self.constants)
        with self.replay.at(first, count, targets.complete):
            for item in steps.over(self.material.items(), f'{self.replay.order[first]}: targets'):
                run = Run(item.number, 0)
                if item.judged:
                    self.replay.run(run)
                    continue
                with targets.watching(run, item.first, item.images):
                    self.replay.run(run)
        return targets

    def _fit_part(self, first: int, places: list[Place], targets: Targets, trained: Trained,
                  court: Court | None, steps: Steps) -> None:
        """Fit the layers of a part and let the judge decide."""
        done = []
        for place in places:
            trained.remember(changed_tensors(place))
            done.append(self._fit(first, place, targets, steps))
        if court is not None and any(each.fit.ridge is not None for each in done):
            steps.begin(f'{self.replay.order[first]}: judge')
            done = self._judged(court, first, done, trained)
        steps.end()
        for each in done:
            self._note(each)

    def _finish(self, first: int, count: int, steps: Steps) -> None:
        """Keep what a part gives now, for those behind it."""
        with self.replay.at(first, count):
            for item in steps.over(self.material.items(), f'{self.replay.order[first]}: outputs'):
                for stream in range(1, self.material.streams + 1):
                    self.replay.run(Run(item.number, stream))
        self.replay.release(first + count, (Run(item.number, stream) for item in self.material.items()
                                            for stream in range(self.material.streams + 1)))

    def _judged(self, court: Court, first: int, done: list[_Done], trained: Trained) -> list[_Done]:
        """A part as the judge lets it stand: whole, with half of its step, or as it was trained."""
        tensors = [tensor for each in done for tensor in changed_tensors(each.place)]
        if court.accepts(first):
            return done
        trained.halve_(tensors)
        if court.accepts(first):
            return [replace(each, share=0.5) for each in done]
        trained.restore_(tensors)
        return [replace(each, share=0.0) for each in done]

    def _fit(self, first: int, place: Place, targets: Targets, steps: Steps) -> _Done:
        start = time.perf_counter()
        wide = place.layer.weight.dtype == torch.float64
        lacks = Lacks(place, targets, torch.float64 if wide else torch.float32)
        with self.replay.at(first):
            for item in steps.over(self.material.items(judged=False), place.name):
                for stream in range(1, self.material.streams + 1):
                    run = Run(item.number, stream)
                    with lacks.watching(run, item.first, item.images):
                        self.replay.run(run)
        solving = time.perf_counter()
        halves = [[sums.reduced() for sums in half] for half in lacks.halves]
        require_finite(place, halves)
        shift = bias_place(place) is not None and place.positions.shiftable
        choose = self.config.ridge == 'auto'
        ridges = RIDGES if choose else (self.config.ridge, )
        if self.config.form == 'bias':
            ridges = ()
        ridges = (*ridges, inf) if shift and (choose or not ridges) else ridges
        fit = Fit.nothing(halves) if not ridges else fit_halves(
            halves, self.config.shares, ridges, shift, choose, solver(self.config.form, place))
        size = 0.0 if fit.ridge is None else write_(place, fit, self.config.damping)
        self.solving += time.perf_counter() - solving
        variance = max(targets.variance(place.name), 1e-300)
        return _Done(place, fit, size, tuple(x / variance for x in fit.before),
                     tuple(x / variance for x in fit.after), time.perf_counter() - start)

    def _note(self, done: _Done) -> None:
        reason = None if done.fit.ridge is not None else 'no gain between halves of the images'
        place = done.place
        layer = PairLayer(place.name, reason, done.before, done.after, done.share * done.size,
                          done.fit.ridge, place.skip,
                          None if done.fit.shift is None else bias_place(place), done.share,
                          done.seconds)
        self.layers[place.name] = layer if done.share or reason else _left(
            layer, 'the judge found no gain in its block')

def _left(layer: PairLayer, reason: str) -> PairLayer:
    return replace(layer, reason=reason, after=layer.before, step=0.0)
