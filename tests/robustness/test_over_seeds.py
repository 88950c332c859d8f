"""Several runs, a seed each, in one table, file and picture."""
import json
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from denoiserep_ext.core.files.writing import write_json
from denoiserep_ext.robustness import report
from denoiserep_ext.robustness.cells import checkpoints_of
from denoiserep_ext.robustness.over_seeds import ordered, read_runs, runs_below
from denoiserep_ext.robustness.over_seeds_picture import styles_of
from denoiserep_ext.robustness.over_seeds_table import differences, figures, save_summary, table
from denoiserep_ext.robustness.run import Plan, measure
from tests.robustness.toy import ToyHost, checkpoint_files

PLAN = Plan(('contrast', 'fog'), (1, 3))
TOOL = Path(__file__).parents[2] / 'tools/robustness_summary.py'


class SeededHost(ToyHost):
    """Scores that differ from seed to seed, by 2 points for both models and by ``shift`` for one."""

    def __init__(self, seed, shift=0.0):
        super().__init__()
        self.seed, self.shift = seed, shift

    def score(self, models, corruption):
        return [{'mAP': own['mAP'] + 2 * self.seed + (i and self.shift)}
                for i, own in zip(models, super().score(models, corruption))]


def write_run(folder, seed, shift=0.0, plan=PLAN):
    checkpoints = checkpoints_of(checkpoint_files(folder / 'files', 'plain', 'denoised'))
    results = measure(SeededHost(seed, shift), checkpoints, plan, folder)
    write_json(report.figures(results), folder / 'robustness.json')


@pytest.fixture
def folder(tmp_path):
    for seed, shift in enumerate((40, 41, 45)):
        write_run(tmp_path / f'net/seed{seed}', seed, shift)
    return tmp_path / 'net'


@pytest.fixture
def runs(folder):
    return read_runs('net', runs_below(folder))


def test_mean_and_deviation_are_of_the_seeds(runs):
    assert runs.seeds == 3 and runs.rows == ('plain', 'denoised')
    assert runs.columns == ('clean', 'contrast', 'fog')
    fog = [(90 - 10 * 1.5 + 90 - 10 * 3.5) / 2 + 2 * seed for seed in range(3)]
    assert runs.scores['plain']['fog'] == pytest.approx(fog)
    found = figures([runs])['net']['rows']['plain']['fog']
    assert found['mean'] == pytest.approx(statistics.fmean(fog))
    assert found['std'] == pytest.approx(statistics.stdev(fog)) == 2
    assert found['scores'] == pytest.approx(fog)


def test_differences_are_paired_by_seed(runs):
    """Seeds shift both models alike: of that nothing is left in the difference."""
    line, note = differences(runs)
    assert line.startswith('denoised - plain: clean +42.00 (+35.43 to +48.57); worse images +39.75 (')
    assert '95 % interval' in note
    fitted = differences(runs, ['fog'])[0]
    assert 'fitted to +39.50 (' in fitted and 'not fitted to +40.00 (' in fitted


def test_table_sets_apart_what_was_not_fitted_to(runs):
    assert ordered(runs, ['fog']) == ['clean', 'fog', 'contrast']
    lines = table([runs], ['fog']).splitlines()
    assert lines[0] == ('net: mAP, mean ± standard deviation over 3 seeds; severity 1, 3; '
                        '4 of 4 toy images')
    assert lines[1].split() == ['clean', 'fog', '|', 'contrast']
    assert lines[3].split() == ['plain', '92.00', '±', '2.00', '67.00', '±', '2.00', '|', '72.00', '±',
                                '2.00']
    assert '|' not in table([runs])


def test_one_seed_has_no_deviation(tmp_path):
    write_run(tmp_path / 'seed0', 0, 1.0)
    runs = read_runs('net', runs_below(tmp_path))
    assert '±' not in table([runs]).split('\n', 1)[1]
    assert differences(runs) == ['denoised - plain: clean +1.00; worse images -1.25']
    assert figures([runs])['net']['rows']['plain']['clean']['std'] is None
    save_summary([runs], tmp_path)


def test_a_picture_is_drawn_of_several_models(tmp_path, runs):
    files = save_summary([runs, runs], tmp_path / 'out', ['contrast'])
    assert [file.name for file in files] == ['summary.json', 'summary.png']
    width, height = Image.open(files[1]).size
    assert width > 500 and height > 700


def test_a_row_of_several_models_has_one_style(runs):
    longer = replace(runs, name='other', rows=('plain', 'control', 'denoised'))
    styles = styles_of([runs, longer])
    assert list(styles) == ['plain', 'control', 'denoised'] and len(set(styles.values())) == 3
    assert styles_of([longer, runs]) == styles


def test_runs_that_do_not_measure_the_same_have_no_mean(folder):
    write_run(folder / 'seed3', 3, plan=Plan(('contrast', 'snow'), (1, 3)))
    with pytest.raises(ValueError, match=r'seed0.* and .*seed3.* differ in corruptions '
                       r"\(\['contrast', 'fog'\] and \['contrast', 'snow'\]\)"):
        read_runs('net', runs_below(folder))


def test_foreign_files_and_empty_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no robustness.json here or below'):
        runs_below(tmp_path)
    (tmp_path / 'robustness.json').write_text('{"metric": "mAP"}')
    with pytest.raises(ValueError, match='robustness.json is not what tools/robustness.py writes'):
        read_runs('net', runs_below(tmp_path))


def run_tool(*words):
    return subprocess.run([sys.executable, TOOL, *map(str, words)], capture_output=True, text=True)


def test_the_tool_prints_the_table_and_writes_both_files(tmp_path, folder, runs):
    done = run_tool(folder, '--out', tmp_path / 'out', '--fitted', 'fog')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(table([runs], ['fog']))
    assert json.loads((tmp_path / 'out/summary.json').read_text()) == figures([runs])
    assert (tmp_path / 'out/summary.png').stat().st_size > 10_000


def test_the_tool_refuses_in_one_line_and_writes_nothing(tmp_path, folder):
    for words, reason in (([tmp_path / 'none'], 'no robustness.json'),
                          ([folder, folder], 'different names')):
        done = run_tool(*words, '--out', tmp_path / 'out')
        assert done.returncode == 1 and reason in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()
