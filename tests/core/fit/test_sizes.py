"""The size of a change is told, and a large one is warned of."""
import warnings

import pytest
import torch

from denoiserep_ext import DenoiseRepConfig, convert_, fit_one_pass_, step_sizes
from denoiserep_ext.core.fit.sizes import LARGE, describe, warning_of
from tests.helpers import TinyNet


def fitted(strength):
    model = TinyNet()
    convert_(model, DenoiseRepConfig(noise='relative', strength=strength))
    fit_one_pass_(model, torch.randn(3, 8, 3, 6, 6, generator=torch.Generator().manual_seed(0)))
    return sum(step_sizes(model).values()) / len(step_sizes(model))


def test_strong_denoising_is_warned_of_once():
    with pytest.warns(UserWarning, match='Strong denoising: weights change by .* most in') as caught:
        assert fitted(0.3) > LARGE
    assert len(caught) == 1 and caught[0].filename == __file__


def test_gentle_denoising_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert 0 < fitted(1e-5) < LARGE


def test_the_description_names_the_layer_that_changes_most():
    assert describe({'a': 0.02, 'b': 0.06}) == (
        'weights change by 4.0% of their norm on average, most in b (6.0%)')
    assert 'most in the layer (6.0%)' in describe({'': 0.06})
    assert warning_of({'a': LARGE}) is None
    assert 'choose a smaller strength' in warning_of({'a': 0.0, 'b': 3 * LARGE})
