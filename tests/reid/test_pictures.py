"""Rank lists and distances before and after."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denoiserep_ext.reid import Trainer
from denoiserep_ext.reid.pictures import RIGHT, WRONG, save_distances, save_rank_lists
from denoiserep_ext.reid.ranking import Embeddings, embed_test_set, rankings
from tests.reid.helpers import reid_config, stock_model

ROOT = Path(__file__).parents[2]


def embeddings(tmp_path, angles):
    """One query (identity 1, camera 1) at angle 0 and a gallery on the unit circle."""
    points = np.array([0.0, *angles])
    paths = []
    for index in range(len(points)):
        paths.append(str(tmp_path / f'{index}.png'))
        Image.new('RGB', (16, 32), 'white').save(paths[-1])
    return Embeddings(np.stack([np.cos(points), np.sin(points)], 1),
                      np.array([1, 1, 1, 2, 1]), np.array([1, 1, 2, 2, 3]), tuple(paths), 1)


def test_ranking_leaves_out_the_querys_own_camera(tmp_path):
    ranking, = rankings(embeddings(tmp_path, [0.01, 0.3, 0.2, 0.1]))
    assert ranking.gallery.tolist() == [3, 2, 1]  # 0 is the same identity in the same camera
    assert ranking.right.tolist() == [True, False, True]
    assert ranking.average_precision == pytest.approx((1 + 2 / 3) / 2)
    np.testing.assert_allclose(ranking.distances, 1 - np.cos([0.1, 0.2, 0.3]))


def test_mean_average_precision_is_fastreids(tmp_path, digits, baseline):
    cfg = reid_config(tmp_path, digits)
    found = rankings(embed_test_set(cfg, baseline, 'Market1501'))
    mean = 100 * np.mean([ranking.average_precision for ranking in found])
    assert mean == pytest.approx(Trainer.test(cfg, stock_model(cfg, baseline))['mAP'], abs=1e-6)


def pixels(path, colour):
    wanted = [int(colour[i:i + 2], 16) for i in (1, 3, 5)]
    found = np.asarray(Image.open(path).convert('RGB')).astype(int)
    return int((np.abs(found - wanted) < 3).all(-1).sum())


def test_frames_tell_right_from_wrong(tmp_path):
    mixed = embeddings(tmp_path, [0.01, 0.1, 0.2, 0.3])
    save_rank_lists(mixed, mixed, [0], tmp_path / 'mixed.png', top=3)
    green, red = (pixels(tmp_path / 'mixed.png', colour) for colour in (RIGHT, WRONG))
    assert green == pytest.approx(2 * red, rel=0.1) and red > 500
    save_rank_lists(mixed, mixed, [0], tmp_path / 'first.png', top=1)
    assert pixels(tmp_path / 'first.png', RIGHT) > 500 and not pixels(tmp_path / 'first.png', WRONG)


def test_distances_are_told_as_the_area_under_the_roc_curve(tmp_path):
    bad = embeddings(tmp_path, [0.0, 0.3, 0.2, 0.1])  # different between the two same ones
    good = embeddings(tmp_path, [0.0, 0.1, 0.3, 0.2])
    assert save_distances(bad, good, tmp_path / 'd.png') == {'before': 0.5, 'after': 1.0}
    assert (tmp_path / 'd.png').stat().st_size > 5000
    assert not list(tmp_path.glob('*.partial*'))


@pytest.mark.matrix
def test_tool_draws_any_pair(tmp_path, digits, baseline):
    config = tmp_path / 'c.yml'
    config.write_text(reid_config(tmp_path, digits).dump())

    def run(*args):
        tool = [sys.executable, '-W', 'ignore', ROOT / 'tools/rank_list.py', '--config-file', config,
                '--before', baseline, '--after', baseline, '--out', tmp_path / 'p']
        return subprocess.run([*tool, *args], capture_output=True, text=True)

    bad = run('--queries', '100')
    assert bad.returncode and 'there is no query 100: they are numbered 0 to 99' in bad.stderr
    gone = run('MODEL.BACKBONE.DEPTH', 'x0_5')
    assert gone.returncode and 'of another model' in gone.stderr and 'Traceback' not in gone.stderr
    assert not (tmp_path / 'p').exists()
    done = run('--count', '2', '--top', '3')
    assert done.returncode == 0, done.stderr
    before, after = (line.split(maxsplit=1)[1] for line in done.stdout.splitlines()[:2])
    assert before == after
    assert {p.name for p in (tmp_path / 'p').iterdir()} == {'rank_lists.png', 'distances.png'}
