"""Runs that are killed end as if they had not been; the judge of that tells a difference."""
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain', reason='needs mmpretrain (bash tools/install.sh)')
pytest.importorskip('fastreid', reason='needs FastReID (bash tools/install.sh)')

from tests.kills.killing import run  # noqa: E402
from tests.kills.runs import Run  # noqa: E402
from tests.kills.trial import Trial, differing  # noqa: E402

ROOT = Path(__file__).parents[2]
NAMES = ('joint', 'alternate', 'frozen', 'detector', 'segmentor', 'fastreid', 'compare', 'compare-reid',
         'sweep', 'shares', 'robustness')
ONE = '''
import json, sys, time
from pathlib import Path
out, whole = Path(sys.argv[1]), sys.argv[2] == 'whole'
out.mkdir(exist_ok=True)
done = json.loads((out / 'a.json').read_text()) if (out / 'a.json').exists() else []
from denoiserep_ext.core.files.writing import write_json
for i in range(len(done), 40):
    time.sleep(0.01)
    done.append(i if whole else len(sys.argv))
    if sys.argv[2] == 'broken':
        (out / 'a.json').write_text(json.dumps(done)[:-1])
        time.sleep(0.02)
    write_json(done, out / 'a.json')
if sys.argv[2] == 'forgetful':
    (out / 'a.json').write_text(json.dumps([time.time()] * 40))
'''


def kills(times, *names):
    """Kills tried and survived of all, from the table."""
    done = subprocess.run([sys.executable, '-W', 'ignore', '-m', 'tests.kills', '--kills', str(times),
                           '--runs', *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    tried, survived = re.search(r'\| all +\| (\d+) \| \d+ \| (\d+) \|', done.stdout).groups()
    return int(tried), int(survived)


@pytest.mark.matrix
@pytest.mark.parametrize('times, name', [(1, 'joint'), (2, 'shares')])
def test_a_few_kills(times, name):
    assert kills(times, name) == (times, times)


@pytest.mark.exhaustive
def test_many_kills_of_every_run():
    assert kills(66, *NAMES) == (66, 66)


@pytest.fixture
def toy(tmp_path):
    """Trial of a small program, in one of its ways."""
    (tmp_path / 'toy.py').write_text(ONE)

    def trial(way):
        made = Run('toy', lambda folder: [[str(tmp_path / 'toy.py'), str(folder), way]],
                   lambda folder: (folder / 'a.json').read_text())
        return Trial(made, tmp_path / way, 0)
    return trial


@pytest.mark.matrix
def test_a_sound_program_survives(toy):
    tally = toy('whole').kill(4)
    assert (tally.tried, tally.survived, tally.failures) == (4, 4, [])


@pytest.mark.matrix
def test_half_a_file_at_a_final_name_is_told(toy):
    tally = toy('broken').kill(4)
    assert tally.tried > tally.survived and 'is half a file' in ''.join(tally.failures)


@pytest.mark.matrix
def test_another_end_is_told(toy):
    tally = toy('forgetful').kill(3)
    assert tally.survived == 0 and 'another end than without kills' in tally.failures[0]


def test_a_program_is_killed_with_all_it_has_started(tmp_path):
    (tmp_path / 'parent.py').write_text(
        'import subprocess, sys\nsubprocess.run([sys.executable, sys.argv[1], sys.argv[2]], '
        'start_new_session=True)')
    (tmp_path / 'child.py').write_text(
        'import sys, time\nwhile True:\n    open(sys.argv[1], "a").write("x")\n    time.sleep(0.01)')
    ending = run([[str(tmp_path / name) for name in ('parent.py', 'child.py', 'out.csv')]],
                 tmp_path / 'log', tmp_path, random.Random(1), usual=3.0, first_write=2.0)
    assert ending.status is None and ending.moment
    size = (tmp_path / 'out.csv').stat().st_size
    time.sleep(0.2)
    assert (tmp_path / 'out.csv').stat().st_size == size > 0


@pytest.mark.parametrize('one, other, where', [
    ({'a': torch.ones(2)}, {'a': torch.ones(2)}, ''), ([1.0, float('nan')], [1.0, float('nan')], ''),
    ({'a': torch.ones(2)}, {'a': torch.tensor([1.0, 1 + 1e-7])}, '.a'),
    ({'a': 1}, {'a': 1, 'b': 2}, "keys ['b']"), ([1, [2]], [1, [3]], '[1][0]'), ([1], [1, 2], '1 and 2'),
    (np.ones(2), np.zeros(2), 'array'), (1, 1.0, '1 and 1.0'), ('ab', 'ac', "'ab' and 'ac'"),
])
def test_the_first_difference_is_named(one, other, where):
    found = differing(one, other)
    assert found == '' if where == '' else where in found
