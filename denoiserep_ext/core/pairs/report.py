"""What denoising from pairs did, layer by layer."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PairLayer:
    """What became of one layer.

    Attributes:
        name: Its name.
        reason: Why it was left as it is, or None if it was changed.
        before: Share of noise in its output, ``E|target - output|^2 / Var(target)``, on worse and on
            clean images. The target is what the trained model gives for the clean image.
        after: The same with the fitted weights, on images they were not fitted on.
        step: ``||W' - W|| / ||W||``.
        ridge: The ridge that cross-validation chose; infinite for a change of the bias alone.
        skip: Whether it makes up for the noise of a skip connection.
        bias: Where its shift went: ``'bias'``, ``'norm'`` (the running mean of the BatchNorm behind it)
            or None.
        share: Share of its step that the judge let stand: 1, or 0.5 where the whole was too much.
        seconds: Time for its passes and its solution.
    """

    name: str
    reason: str | None
    before: tuple[float, float] | None = None
    after: tuple[float, float] | None = None
    step: float = 0.0
    ridge: float | None = None
    skip: bool = False
    bias: str | None = None
    share: float = 1.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What the judge found on images that nothing was fitted on or chosen by.

    Attributes:
        kind: How outputs were compared: ``'js'``, ``'cosine'`` or ``'feature'``.
        images: How many.
        before: Mean distance of the trained model, on clean images and each corruption.
        after: The same of the denoised one.
        agreement_before, agreement_after: For class scores: share of images given the class that the
            trained model gives the clean version; else None.
        gain: Mean fall of the weighted distance.
        error: Its standard error.
        accepted: Whether the model was denoised, rather than left as it was.
    """

    kind: str
    images: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    agreement_before: tuple[float, ...] | None
    agreement_after: tuple[float, ...] | None
    gain: float
    error: float
    accepted: bool

    def __str__(self) -> str:
        what = {'js': 'Jensen-Shannon divergence of class scores',
                'cosine': 'cosine distance of embeddings',
                'feature': 'squared error of features'}[self.kind]
        lines = [f"judge: {what} from the trained model's on the clean image, {self.images} held-out "
                 f'images']
        for index, (before, after) in enumerate(zip(self.before, self.after)):
            name = 'clean' if index == 0 else f'worse {index}'
            same = ''
            if self.agreement_before is not None:
                same = (f'   same class {100 * self.agreement_before[index]:.1f} -> '
                        f'{100 * self.agreement_after[index]:.1f} %')
            lines.append(f'  {name:<8} {before:.4f} -> {after:.4f}{same}')
        lines.append(f'  weighted gain {self.gain:+.4f} +- {self.error:.4f}: '
                     + ('accepted' if self.accepted else 'no gain, the model is left as it was'))
        return '\n'.join(lines)


@dataclass(frozen=True)
class PairReport:
    """What :func:`~denoiserep_ext.denoise_pairs_` did; ``str(report)`` is a table.

    Attributes:
        layers: Every embedding layer, in call order; those that were not to be fitted last.
        images: Images that were fitted on.
        verdict: The judge's, or None if there was none.
        seconds: Time of it all.
        solving: Of that, for solving.
    """

    layers: tuple[PairLayer, ...]
    images: int
    verdict: Verdict | None
    seconds: float
    solving: float

    @property
    def changed(self) -> tuple[PairLayer, ...]:
        """The layers with new weights."""
        return tuple(layer for layer in self.layers if layer.reason is None)

    @property
    def accepted(self) -> bool:
        """Whether the model was changed at all."""
        return bool(self.changed)

    def __iter__(self) -> Iterator[PairLayer]:
        return iter(self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [('layer', 'noise left', 'clean', 'step', 'ridge', 'notes')]
        for layer in self.layers:
            noise, clean = ('-', '-') if layer.before is None else (
                f'{layer.before[kind]:.3f} -> {layer.after[kind]:.3f}' for kind in (0, 1))
            notes = [layer.reason and f'left: {layer.reason}', layer.share == 0.5 and 'half a step',
                     layer.skip and 'skip', layer.reason is None and layer.bias and {
                         'bias': 'bias', 'norm': 'bias in BatchNorm'}[layer.bias]]
            ridge = '-' if layer.ridge is None else f'{layer.ridge:g}'
            rows.append((layer.name, noise, clean, f'{layer.step:.3f}', ridge,
                         ', '.join(filter(None, notes))))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        lines = ['  '.join([cell.ljust(width) for cell, width in zip(row, widths)] + [row[-1]]).rstrip()
                 for row in rows]
        lines.insert(1, '-' * max(map(len, lines)))
        lines.append(f'{len(self.changed)} of {len(self.layers)} layers denoised on {self.images} '
                     f'images in {self.seconds:.1f} s ({self.solving:.1f} s of it solving)')
        if self.verdict is not None:
            lines.append(str(self.verdict))
        return '\n'.join(lines)
