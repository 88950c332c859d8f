"""The picture of a sweep: no interval hides another, and everything has a name."""
import numpy as np
import pytest

pytest.importorskip('matplotlib')
pytest.importorskip('scipy')

from denoiserep_ext.calibrate import sweep_picture  # noqa: E402
from denoiserep_ext.calibrate.denoising import NOISES, Denoising  # noqa: E402
from denoiserep_ext.calibrate.pairs import PairDenoising  # noqa: E402
from denoiserep_ext.calibrate.scores import Scores  # noqa: E402
from denoiserep_ext.calibrate.sweep import Point, Sweep  # noqa: E402
from denoiserep_ext.core.pairs.config import PairConfig  # noqa: E402


def scores(value, names=()):
    return Scores('accuracy', value, np.full(4, value), {}, dict.fromkeys(names, value))


def strengths():
    settings = [Denoising(noise, strength) for noise in NOISES for strength in (0.01, 0.1, 1.0)]
    settings += [Denoising('within_class', strength, centred=True) for strength in (0.0, 0.01, 1.0)]
    return Sweep(scores(50.0), tuple(Point(each, scores(50.0), 0.0, 1.0) for each in settings), 'parts')


def shown(conditions):
    names = ['clean', *(f'corruption_{i}' for i in range(conditions))]
    start = PairDenoising(PairConfig())
    settings = [start.but(clean_weight=weight) for weight in (0.3, 1.0, 3.0)]
    return Sweep(scores(50.0, names), tuple(Point(each, scores(50.0, names), 0.0, 1.0)
                                            for each in settings), 'parts')


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    figures, save = [], sweep_picture.save
    monkeypatch.setattr(sweep_picture, 'save', lambda figure, path: (figures.append(figure),
                                                                     save(figure, path)))

    def draw(sweep):
        sweep_picture.save_picture(sweep, tmp_path / 'a.png', 'net')
        assert (tmp_path / 'a.png').stat().st_size > 10_000
        return figures[-1].axes[0], figures[-1].legends[0]

    return draw


@pytest.mark.parametrize('sweep', [strengths(), shown(2), shown(15)], ids=['strengths', '2', '15'])
def test_points_at_one_setting_stand_side_by_side(drawn, sweep):
    axes, _ = drawn(sweep)
    places = [x for line in axes.lines if line.get_marker() not in ('None', '_', None)
              for x in line.get_xdata()]
    assert len(places) == len(set(places)) >= len(sweep.points)


def test_columns_of_settings_do_not_run_into_each_other(drawn):
    axes, _ = drawn(shown(15))
    places = np.array([line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 3
                       and line.get_marker() not in ('None', '_', None)])
    assert places.shape == (17, 3) and (abs(places - [0, 1, 2]) < 0.5).all()
    assert all(line.get_linestyle() == 'None' for line in axes.lines if len(line.get_xdata()) == 3)


def test_title_and_legend_are_words(drawn):
    axes, legend = drawn(strengths())
    assert axes.get_title() == 'net: accuracy by strength of the noise that is taken out'
    assert [text.get_text() for text in legend.get_texts()] == [
        'plain model', *(f'{noise}, 95 % interval' for noise in (*NOISES, 'within_class, centred'))]
    axes, legend = drawn(shown(1))
    assert 'by setting' in axes.get_title()
    assert 'corruption 0' in {text.get_text() for text in legend.get_texts()}
