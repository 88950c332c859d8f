"""What our pictures have in common."""
from __future__ import annotations

from pathlib import Path

from .core.files.writing import parked

# Okabe and Ito's colours, told apart by colour-blind readers; markers differ, too.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
MARKERS = 'osD^vPX'


def pyplot():
    """Matplotlib's, without a screen."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    return plt


def save(figure, path: Path) -> None:
    """Write a picture, whole or not at all, and close it."""
    with parked(path) as partial:
        figure.savefig(partial, dpi=220, format=path.suffix[1:])
    pyplot().close(figure)
