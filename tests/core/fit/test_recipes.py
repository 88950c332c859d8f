"""Who trains when."""
import pytest

from denoiserep_ext.core.fit.recipes import BACKBONE, DENOISE, Recipe


def test_blocks_of_one_alternate_every_time():
    recipe = Recipe('alternate', 1)
    assert [recipe.phase(position) for position in range(4)] == [DENOISE, BACKBONE, DENOISE, BACKBONE]
    assert all(recipe.ends(position) for position in range(4))


@pytest.mark.parametrize('period', [0, -1, 1.5, True])
def test_a_period_is_an_integer_of_one_or_more(period):
    with pytest.raises(ValueError, match='period must be an integer >= 1'):
        Recipe('alternate', period)
