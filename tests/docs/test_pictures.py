"""The pictures of README and site are drawn from the committed figures."""
from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.pages import ROOT

pytest.importorskip('matplotlib')
pytest.importorskip('sklearn')
pytest.importorskip('imagecorruptions')
PICTURES = {'method.svg', 'noise_by_depth.png', 'robustness.png', 'detections.png'}


def draw(out):
    subprocess.run([sys.executable, '-m', 'docs.pictures', '--out', str(out)], cwd=ROOT, check=True)
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.matrix
def test_every_picture_is_drawn_and_the_same_each_time(tmp_path):
    drawn = draw(tmp_path / 'first')
    assert drawn.keys() == PICTURES
    assert draw(tmp_path / 'second') == drawn
    assert {path.name for path in (ROOT / 'docs/pictures').iterdir()} >= PICTURES

