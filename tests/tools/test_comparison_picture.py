"""The picture of a comparison: everything in it can be seen and has a name."""
import pytest

pytest.importorskip('matplotlib')

from PIL import Image  # noqa: E402

from denoiserep_ext.compare import picture  # noqa: E402
from denoiserep_ext.compare.comparison import summarise  # noqa: E402
from denoiserep_ext.compare.picture import MOST_LAYERS, save_picture  # noqa: E402


def report(layers=3, seeds=3):
    """All seeds of all rows score the same, and every layer has reached its floor."""
    results = [{'row': row, 'seed': seed, 'metrics': {'acc': 90.0}}
               for row in ('baseline', 'control', 'denoiserep') for seed in range(seeds)]
    figures = {f'backbone.stage{i // 10}.conv{i}': 0.9 for i in range(layers)}
    return {'name': 'a_model_with_a_long_name_denoiserep-joint_1xb64_of_some_data', 'metric': 'acc',
            'seeds': list(range(seeds)), 'results': results, 'summary': summarise(results),
            'layers': {'loss': figures, 'floor': figures}}


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws and returns the figure, which is saved as ever."""
    figures, save = [], picture.save
    monkeypatch.setattr(picture, 'save', lambda figure, path: (figures.append(figure),
                                                               save(figure, path)))

    def draw(*reports):
        save_picture(list(reports), tmp_path / 'a.png')
        return figures[-1]

    return draw


def marks(axes):
    return [point for line in axes.lines for point in line.get_xydata().tolist()
            if line.get_marker() not in ('None', '_', None)]


def test_marks_stand_side_by_side_without_lines_between_categories(drawn):
    for axes in drawn(report(), report(layers=1, seeds=1)).axes:
        found = [tuple(point) for point in marks(axes)]
        assert found and len(set(found)) == len(found)
        assert {line.get_linestyle() for line in axes.lines} == {'None'}


def test_title_legend_and_names_can_be_read(drawn, tmp_path):
    figure = drawn(report(layers=30))
    assert figure.get_suptitle()
    legend, = figure.legends
    assert {text.get_text() for text in legend.get_texts()} >= {
        'one seed', 'mean and standard deviation'}
    names = figure.axes[1].get_yticklabels()
    assert names[0].get_text() == 'stage0.conv0' and not any(name.get_rotation() for name in names)
    assert Image.open(tmp_path / 'a.png').size[0] > 1100


def test_of_many_layers_some_are_named(drawn):
    names = drawn(report(layers=3 * MOST_LAYERS)).axes[1].get_yticklabels()
    assert len(names) == MOST_LAYERS
