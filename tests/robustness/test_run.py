"""Cells are measured once, kept as they come, and make the figures."""
import csv
import json

import pytest
from PIL import Image

from denoiserep_ext.core.files.writing import write_json
from denoiserep_ext.robustness import pictures, report
from denoiserep_ext.robustness.cells import Cells, checkpoints_of
from denoiserep_ext.robustness.host import draw
from denoiserep_ext.robustness.run import Plan, measure
from tests.robustness.toy import ToyHost, checkpoint_files

PLAN = Plan(('fog', 'contrast'), (3, 1))
CELLS = [None, 'fog@1', 'fog@3', 'contrast@1', 'contrast@3']


@pytest.fixture
def checkpoints(tmp_path):
    return checkpoints_of(checkpoint_files(tmp_path, 'plain', 'denoised'))


def test_every_cell_is_scored_once_for_all_checkpoints(tmp_path, checkpoints):
    host = ToyHost()
    results = measure(host, checkpoints, PLAN, tmp_path / 'out')
    assert host.asked == [((0, 1), cell) for cell in CELLS]
    assert results.scores('denoised') == {
        ('clean', 0): 90.0, ('fog', 1): 90 - 11 * 1.5, ('fog', 3): 90 - 11 * 3.5,
        ('contrast', 1): 79.0, ('contrast', 3): 57.0}
    assert results.scores('plain', 'Rank-1')['fog', 3] == 95 - 5 * 3.5


def test_what_is_there_is_not_done_again_and_counts(tmp_path, checkpoints):
    first = measure(ToyHost(), checkpoints, PLAN, tmp_path / 'out')
    again = ToyHost()
    assert measure(again, checkpoints, PLAN, tmp_path / 'out').metrics == first.metrics
    assert again.asked == []
    more = ToyHost()
    longer = [*checkpoints, *checkpoints_of(checkpoint_files(tmp_path, 'third'))]
    measure(more, longer, Plan(('fog', 'snow'), (1, )), tmp_path / 'out')
    assert more.asked == [((2, ), None), ((2, ), 'fog@1'), ((0, 1, 2), 'snow@1')]


def test_an_interrupted_run_goes_on_with_the_cell_it_was_at(tmp_path, checkpoints):
    with pytest.raises(KeyboardInterrupt):
        measure(ToyHost(fails_at=3), checkpoints, PLAN, tmp_path / 'out')
    assert len(list((tmp_path / 'out/cells').iterdir())) == 6, 'two checkpoints, three cells, all whole'
    rest = ToyHost()
    results = measure(rest, checkpoints, PLAN, tmp_path / 'out')
    assert [cell for _, cell in rest.asked] == CELLS[3:]
    assert results.metrics == measure(ToyHost(), checkpoints, PLAN, tmp_path / 'fresh').metrics


@pytest.mark.parametrize('change', ['weights', 'settings', 'damage', 'foreign'])
def test_a_score_of_something_else_is_not_taken(tmp_path, checkpoints, change):
    measure(ToyHost(), checkpoints, PLAN, tmp_path / 'out')
    host, asked = ToyHost(), CELLS
    clean = next((tmp_path / 'out/cells').glob(f'clean-0_{checkpoints[0].digest[:12]}_*.json'))
    if change == 'weights':
        (tmp_path / 'plain.pth').write_text('trained on')
        checkpoints = checkpoints_of([c.path for c in checkpoints])
        models = (0, )
    elif change == 'settings':
        host.settings = {**host.settings, 'seed': 1}
        models = (0, 1)
    else:
        clean.write_text('{"metrics": {"mAP"' if change == 'damage' else '{"metrics": {"mAP": 1.0}}')
        models, asked = (0, ), [None]
    measure(host, checkpoints, PLAN, tmp_path / 'out')
    assert host.asked == [(models, cell) for cell in asked]


def test_another_version_of_the_corruptions_is_something_else(tmp_path, checkpoints, monkeypatch):
    from denoiserep_ext.robustness import cells
    measure(ToyHost(), checkpoints, PLAN, tmp_path / 'out')
    monkeypatch.setattr(cells, '_library_version', lambda: '99')
    host = ToyHost()
    measure(host, checkpoints, PLAN, tmp_path / 'out')
    assert len(host.asked) == len(CELLS)


def test_corruptions_that_cannot_be_put_on_the_images_are_named_before_anything_is_scored(
        tmp_path, checkpoints):
    host = ToyHost(refuses=('fog', 'snow'))
    with pytest.raises(ValueError, match=r'fog, snow cannot be put on the test images: a.png: fog needs '
                       r'larger images. These can: --corruptions contrast$'):
        measure(host, checkpoints, Plan(('fog', 'contrast', 'snow')), tmp_path / 'out')
    assert host.asked == [] and not (tmp_path / 'out').exists()


def test_a_metric_that_is_not_there_is_found_with_the_first_cell(tmp_path, checkpoints):
    host = ToyHost(metric='mIoU')
    with pytest.raises(ValueError, match='no mIoU'):
        measure(host, checkpoints, PLAN, tmp_path / 'out')
    assert len(host.asked) == 1


def test_table_json_and_csv_say_the_same(tmp_path, checkpoints):
    results = measure(ToyHost(), checkpoints, PLAN, tmp_path / 'out')
    text = report.table(results)
    mpc = [90 - slope * (2.5 + 2) / 2 for slope in (10, 11)]
    assert 'mAP, mean over severities 1, 3; 4 of 4 toy images' in text
    lines = {line.split('  ')[0]: line.split()[-3:] for line in text.splitlines()}
    assert lines['clean'] == ['90.00', '90.00', '(+0.00)']
    assert lines['fog'] == ['65.00', '62.50', '(-2.50)']
    assert lines['2 corruptions: mPC'] == [f'{mpc[0]:.2f}', f'{mpc[1]:.2f}', f'({mpc[1] - mpc[0]:+.2f})']
    assert 'mCE' not in text
    write_json(report.figures(results), tmp_path / 'r.json')
    figures = json.loads((tmp_path / 'r.json').read_text())
    group = figures['summary']['mAP']['denoised']['groups']['2 corruptions']
    assert group == {'mPC': pytest.approx(mpc[1]), 'rPC': pytest.approx(100 * mpc[1] / 90)}
    assert set(figures['summary']) == {'mAP', 'Rank-1'}
    assert [c['sha256'] for c in figures['checkpoints']] == [c.digest for c in checkpoints]
    report.write_csv(results, tmp_path / 'r.csv')
    with (tmp_path / 'r.csv').open() as stream:
        rows = list(csv.DictReader(stream))
    assert [dict(row, severity=int(row['severity']), mAP=float(row['mAP']),
                 **{'Rank-1': float(row['Rank-1'])}) for row in rows] == figures['cells']


@pytest.mark.parametrize('count', [1, 3])
@pytest.mark.parametrize('names', [('fog', ), ('all', )])
def test_pictures_are_drawn_for_any_number(tmp_path, count, names):
    checkpoints = checkpoints_of(checkpoint_files(tmp_path, *'abc'[:count]))
    results = measure(ToyHost(), checkpoints, Plan(names), tmp_path / 'out')
    pictures.save_curves(results, tmp_path / 'curves.png')
    pictures.save_heat_map(results, tmp_path / 'heat.png')
    for name in ('curves.png', 'heat.png'):
        colours = Image.open(tmp_path / name).convert('RGB').getcolors(1 << 24)
        assert len(colours) > 50, 'something is drawn'


def test_the_heat_map_shows_differences_to_the_first_checkpoint(tmp_path, checkpoints, monkeypatch):
    from matplotlib.axes import Axes
    results = measure(ToyHost(), checkpoints, PLAN, tmp_path / 'out')
    texts = []
    plain = Axes.text
    monkeypatch.setattr(Axes, 'text', lambda *a, **k: texts.append(a[3]) or plain(*a, **k))
    pictures.save_heat_map(results, tmp_path / 'heat.png')
    assert texts == ['-1.5', '-3.5', '-1.0', '-3.0']


@pytest.mark.parametrize('make, words', [
    (lambda: Plan(('smog', )), "Unknown corruption 'smog'"),
    (lambda: Plan(('fog', ), (1, 6)), 'fog has no severity 6'),
    (lambda: Plan(('fog', ), ()), 'No severity'),
    (lambda: Plan(()), 'No corruption'),
])
def test_bad_plans_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_names_of_checkpoints_tell_them_apart(tmp_path):
    paths = checkpoint_files(tmp_path, 'a/last', 'b/last')
    assert [c.name.rpartition('/')[0][-1] for c in checkpoints_of(paths)] == ['a', 'b']
    assert [c.name for c in checkpoints_of(paths, ['one', 'two'])] == ['one', 'two']
    for names in (['one'], ['one', 'one']):
        with pytest.raises(ValueError, match='2 checkpoints need as many different names'):
            checkpoints_of(paths, names)
    with pytest.raises(ValueError, match='named twice'):
        checkpoints_of([paths[0], paths[0]])
    with pytest.raises(FileNotFoundError, match='nowhere.pth: no such checkpoint'):
        checkpoints_of([tmp_path / 'nowhere.pth'])


def test_a_limit_draws_the_same_images_for_a_seed():
    drawn = draw(100, 10, 0)
    assert len(set(drawn)) == 10 and drawn == sorted(drawn) == draw(100, 10, 0) != draw(100, 10, 1)
    assert draw(100, None, 0) is draw(100, 100, 0) is draw(100, 101, 0) is None


def test_reading_a_cell_that_was_never_written_gives_nothing(tmp_path, checkpoints):
    assert Cells(tmp_path / 'nowhere', {}).read(checkpoints[0], None) is None
    assert not (tmp_path / 'nowhere').exists()


class Blind(ToyHost):
    """Finds nothing in fog, and then reports nothing."""

    def score(self, models, corruption):
        return [{} if corruption and corruption.name == 'fog' else metrics
                for metrics in super().score(models, corruption)]


def test_a_model_that_finds_nothing_scores_nothing(tmp_path):
    checkpoints = checkpoints_of(checkpoint_files(tmp_path, 'a', 'b'), None)
    for _ in range(2):  # measured, and read again
        found = measure(Blind(), checkpoints, Plan(['fog', 'contrast'], [1]), tmp_path / 'out')
        assert found.scores('a')['fog', 1] == found.scores('b', 'Rank-1')['fog', 1] == 0
        assert found.scores('a')['contrast', 1] == 80
