"""The command that shows which changes of weights are too large, and the bound that it is for."""
import pytest

from denoiserep_ext.core.fit.sizes import LARGE
from tests.measure import change_of_weights


@pytest.mark.matrix
def test_weak_noise_is_below_the_bound_and_harmless_and_strong_noise_is_not(
        real_data, capsys, recwarn):
    change_of_weights.main(['--quick'])
    plain, *rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == 4
    for _, strength, mean, _, accuracy in rows:
        share, lost = float(mean.rstrip('%')) / 100, float(plain[-1]) - float(accuracy)
        assert (share < LARGE and lost < 1) if strength == '0.0001' else (share > LARGE and lost > 5)
