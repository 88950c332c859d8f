"""The faults that tests/mutation.py puts in."""
from pathlib import Path

from tests.mutation import mutants

SOURCE = '''
def f(x: int | None = 2) -> float:
    """Words."""
    if x is None:
        raise ValueError('x - 1')
    x.total += x.double()
    return not x
'''


def test_every_fault_is_one_change_and_annotations_stay():
    changes = {mutant.change for mutant in mutants(Path('f.py'), SOURCE)}
    assert changes == {
        '2  ->  3', 'if x is None:  ->  if True:', 'if x is None:  ->  if False:',
        'x is None  ->  x is not None', "raise ValueError('x - 1')  ->  pass",
        'x.total += x.double()  ->  x.total -= x.double()', 'x.total += x.double()  ->  pass',
        'x.double()  ->  x', 'not x  ->  x'}
    for mutant in mutants(Path('f.py'), SOURCE):
        assert 'def f(x: int | None' in mutant.source and mutant.source.count('Words.') == 1
        compile(mutant.source, 'f.py', 'exec')
