"""The method in one picture: what stands in front of a layer, and what is left after the fold."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from denoiserep_ext.drawing import COLOURS, pyplot

BLUE, ORANGE = COLOURS[0], COLOURS[1]
GREY = '0.45'
WIDTH, HEIGHT = 10.4, 4.2  # of the drawing, in its own units and in inches
ROWS = {'clean': 3.72, 'worse': 2.12, 'folded': 0.45}
LAYERS = (4.25, 7.4)  # left edges
SIZE = 1.3, 0.62  # of a layer
SLIM = 0.95  # width of a denoiser
END = 9.5  # where the output is written


def save(path: Path) -> None:
    """Draw it as a vector picture, the same file each time.

    Args:
        path: SVG to write.
    """
    plt = pyplot()
    with plt.rc_context({'svg.hashsalt': 'method', 'svg.fonttype': 'path', 'font.size': 10,
                         'mathtext.fontset': 'dejavusans'}):
        figure = plt.figure(figsize=(WIDTH, HEIGHT), facecolor='white')
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
        axes.axis('off')
        _rows(axes)
        figure.savefig(path, format='svg', metadata={'Date': None})
        plt.close(figure)


def _rows(axes) -> None:
    clean, worse = _images()
    _row(axes, 'clean', clean, 'The trained model', 'on a clean image', GREY)
    _row(axes, 'worse', worse, 'With denoisers', 'on a worse image', ORANGE)
    _row(axes, 'folded', worse, 'Folded', 'same keys, shapes, cost', BLUE)
    for left, number in zip(LAYERS, '12'):
        _layer(axes, left, 'clean', f'layer {number}', f'$W_{number},\\ b_{number}$', GREY)
        _layer(axes, left, 'worse', f'layer {number}', f'$W_{number},\\ b_{number}$', GREY)
        _layer(axes, left - SLIM - 0.3, 'worse', 'denoiser', f'$M_{number},\\ a_{number}$', ORANGE, SLIM)
        _layer(axes, left, 'folded', f'layer {number}',
               f"$W_{number}' = W_{number} M_{number}$", BLUE)
        middle = left + SIZE[0] / 2
        _arrow(axes, (middle, ROWS['clean'] - SIZE[1] / 2), (middle, ROWS['worse'] + SIZE[1] / 2),
               GREY, 'dashed', both=True)
        axes.text(middle + 0.1, (ROWS['clean'] + ROWS['worse']) / 2, 'outputs\nas near as can be',
                  fontsize=8.5, color=GREY, va='center')
        _fold(axes, left)


def _row(axes, row: str, image: np.ndarray, head: str, words: str, colour: str) -> None:
    y = ROWS[row]
    axes.text(0.1, y + 0.13, head, fontsize=10, fontweight='bold', color='black', va='center')
    axes.text(0.1, y - 0.16, words, fontsize=9, color='0.25', va='center')
    axes.imshow(image, cmap='gray_r', extent=(2.08, 2.68, y - 0.3, y + 0.3), vmin=0, vmax=16,
                interpolation='nearest', zorder=2)
    axes.add_patch(pyplot().Rectangle((2.08, y - 0.3), 0.6, 0.6, fill=False, edgecolor='0.6',
                                      linewidth=0.8, zorder=3))
    slim = SLIM + 0.3 if row == 'worse' else 0.0
    starts = [2.68, LAYERS[0] + SIZE[0], LAYERS[1] + SIZE[0]]
    ends = [LAYERS[0] - slim, LAYERS[1] - slim, END]
    for start, end in zip(starts, ends):
        _arrow(axes, (start + 0.04, y), (end, y), 'black')
    if slim:
        for left in LAYERS:
            _arrow(axes, (left - 0.3, y), (left, y), 'black')
    axes.text(END + 0.06, y, 'output', fontsize=9, va='center')
    axes.set_aspect('auto')


def _layer(axes, left: float, row: str, name: str, formula: str, colour: str,
           width: float = SIZE[0]) -> None:
    y = ROWS[row] - SIZE[1] / 2
    from matplotlib.patches import FancyBboxPatch
    axes.add_patch(FancyBboxPatch(
        (left, y), width, SIZE[1], boxstyle='round,pad=0,rounding_size=0.07', linewidth=1.6,
        edgecolor=colour, facecolor=_pale(colour), zorder=4))
    for text, shift in ((name, 0.13), (formula, -0.14)):
        axes.text(left + width / 2, ROWS[row] + shift, text, ha='center', va='center', fontsize=9,
                  zorder=5)


def _fold(axes, left: float) -> None:
    """A bracket under denoiser and layer, and an arrow to the one layer that is left."""
    first, last, y = left - SLIM - 0.3, left + SIZE[0], ROWS['worse'] - SIZE[1] / 2 - 0.1
    axes.plot([first, first, last, last], [y + 0.06, y, y, y + 0.06], color=BLUE, linewidth=1.4)
    middle = left + SIZE[0] / 2
    _arrow(axes, (middle, y), (middle, ROWS['folded'] + SIZE[1] / 2), BLUE)
    axes.text(middle + 0.1, (y + ROWS['folded'] + SIZE[1] / 2) / 2, 'fold', fontsize=9, color=BLUE,
              va='center')


def _arrow(axes, start, end, colour: str, style: str = 'solid', both: bool = False) -> None:
    axes.annotate('', xy=end, xytext=start, zorder=1, arrowprops=dict(
        arrowstyle='<->' if both else '->', color=colour, linewidth=1.3, linestyle=style,
        shrinkA=1, shrinkB=1))


def _pale(colour: str) -> tuple[float, ...]:
    """The colour, mixed with much white."""
    from matplotlib.colors import to_rgb
    return tuple(0.86 + 0.14 * part for part in to_rgb(colour))


def _images() -> tuple[np.ndarray, np.ndarray]:
    """A handwritten digit of scikit-learn's, 0..16, clean and noisy [8, 8]."""
    from sklearn.datasets import load_digits
    clean = load_digits().images[13]
    return clean, np.clip(clean + np.random.default_rng(0).normal(0, 3, clean.shape), 0, 16)
