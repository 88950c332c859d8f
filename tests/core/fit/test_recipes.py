"""Who trains when."""
import pytest

from denoiserep_ext import DenoiseRepConfig, convert_
from denoiserep_ext.core.fit.recipes import BACKBONE, DENOISE, JOINT, Recipe, enter_phase_
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.helpers import TinyNet


def test_blocks_of_one_alternate_every_time():
    recipe = Recipe('alternate', 1)
    assert [recipe.phase(position) for position in range(4)] == [DENOISE, BACKBONE, DENOISE, BACKBONE]
    assert all(recipe.ends(position) for position in range(4))


@pytest.mark.parametrize('period', [0, -1, 1.5, True])
def test_a_period_is_an_integer_of_one_or_more(period):
    with pytest.raises(ValueError, match='period must be an integer >= 1'):
        Recipe('alternate', period)


@pytest.mark.parametrize('train_noise', [False, True])
def test_noise_in_training_takes_the_explicit_path_where_the_host_trains(train_noise):
    model = TinyNet()
    convert_(model, DenoiseRepConfig(train_noise=train_noise))
    live = 'explicit' if train_noise else 'fused'
    for phase, path in ((JOINT, live), (DENOISE, 'plain'), (BACKBONE, live)):
        enter_phase_(model.train(), phase)
        assert {layer.train_path for _, layer in denoise_layers(model)} == {path}
