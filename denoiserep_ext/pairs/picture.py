"""The noise left in every layer's output, before and after: the picture of a walk."""
from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from ..core.pairs.report import PairLayer, PairReport
from ..drawing import COLOURS, pyplot, save

NAMES = 60  # most layers that are all named on the axis
SHORT = 6  # characters that fit below a layer
TITLES = ('worse images', 'clean images')


def save_picture(report: PairReport, path: Path, title: str) -> None:
    """Noise left by depth, on worse images and on clean ones, as the layers were and as they are.

    Args:
        report: What a walk did.
        path: PNG to write.
        title: Its title.
    """
    layers = [layer for layer in report.layers if layer.before is not None]
    width = min(max(6.5, 1.5 + 0.22 * len(layers)), 16)
    figure, panels = pyplot().subplots(2, 1, sharex=True, figsize=(width, 7), layout='constrained')
    for kind, (axes, name) in enumerate(zip(panels, TITLES)):
        _draw(axes, layers, kind)
        axes.set_title(name, fontsize=9)
    part, names = _short([layer.name for layer in layers])
    step = max(1, -(-len(layers) // NAMES))
    upright = max(map(len, names), default=0) > SHORT
    panels[1].set_xticks(range(0, len(layers), step), names[::step], rotation=90 * upright, fontsize=7)
    panels[1].set_xlabel(f'layer of {part}, in call order' if part else 'layer, in call order')
    figure.supylabel("noise left in the layer's output, share of its variance", fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=1, fontsize=9)
    figure.suptitle(textwrap.fill(title, int(11 * width)) + _verdict(report), fontsize=10)
    save(figure, path)


def _short(names: Sequence[str]) -> tuple[str, list[str]]:
    """The child of the model that all layers are in, if there is one, and their names within it."""
    roots = {name.partition('.')[0] for name in names}
    if len(roots) != 1 or not all('.' in name for name in names):
        return '', list(names)
    return roots.pop(), [name.partition('.')[2] for name in names]


def _draw(axes, layers: Sequence[PairLayer], kind: int) -> None:
    places = range(len(layers))
    before, after = ([getattr(layer, when)[kind] for layer in layers] for when in ('before', 'after'))
    axes.vlines(places, before, after, color='0.75', linewidth=1)
    axes.plot(places, before, color=COLOURS[1], marker='s', markersize=4, linestyle='--', linewidth=1,
              label='before: this layer as trained, those in front of it denoised')
    axes.plot(places, after, color=COLOURS[0], marker='o', markersize=4, linewidth=1.5,
              label='after: this layer denoised, too')
    left = [i for i in places if layers[i].reason is not None]
    if left:
        axes.plot(left, [after[i] for i in left], linestyle='none', marker='o', markersize=5,
                  markerfacecolor='white', markeredgecolor=COLOURS[0], label='left as trained')
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def _verdict(report: PairReport) -> str:
    verdict = report.verdict
    if verdict is None:
        return ''
    return '' if verdict.accepted else '\nno gain: the model is left as it was'
