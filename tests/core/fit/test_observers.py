"""Which feature vectors are looked at while moments are collected."""
import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, convert_
from denoiserep_ext.core.fit.observers import CurrentBatch, MomentObserver, PassObserver
from denoiserep_ext.core.layer.sampling import draw


def pointwise(channels=1):
    model = nn.Sequential(nn.Conv2d(channels, channels, 1))
    convert_(model, DenoiseRepConfig(layers='all'))
    return model[0]


def numbered(images=4, size=10):
    """Images whose every position holds its own number: 0, 1, 2, ... over the whole batch."""
    return torch.arange(float(images * size**2)).view(images, 1, size, size)


@pytest.mark.parametrize('images', [1, 4])
def test_draws_come_from_all_of_every_image_alike(images):
    """Uniform over positions: chi-squared over the tenths of four images, 39 degrees of freedom."""
    drawn = draw(pointwise(), numbered(size=100), 16_000 // images, 'pass', 0, images).flatten()
    counts = torch.histc(drawn, 40, 0, 40_000)
    assert len(drawn) == 16_000
    assert ((counts - 400).square() / 400).sum() < 80  # p = 0.0001
    if images > 1:
        assert counts.view(4, 10).sum(1).tolist() == [4000] * 4


@pytest.mark.parametrize('kind', ['pass', 'training'])
def test_moments_are_of_all_of_every_image(kind):
    layer, x = pointwise(), numbered(size=100)
    observer = MomentObserver(layer, 2000)
    if kind == 'pass':
        observer = PassObserver(layer, CurrentBatch(images=4), 500, torch.float64)
    observer(layer, x)
    standard_error = x.std().item() / 2000**0.5
    assert observer.moments.count == 2000
    assert observer.moments.mean.item() == pytest.approx(x.mean().item(), abs=4 * standard_error)
    assert observer.moments.covariance.item() == pytest.approx(x.var().item(), rel=0.1)


def test_where_there_are_no_more_positions_than_asked_for_each_is_taken_once():
    layer, x = pointwise(), numbered()
    for tokens in (100, 101, None):
        assert torch.equal(draw(layer, x, tokens, 'pass', 0, images=4).flatten(), x.flatten())
    assert len(draw(layer, x, 99, 'pass', 0, images=4)) == 396


def test_rows_that_do_not_fall_evenly_on_images_are_drawn_from_alike():
    layer, x = pointwise(), numbered(images=5)
    drawn = draw(layer, x, 30, 'pass', 0, images=3).flatten()
    assert len(drawn) == 90 and drawn.max() > 400
    assert len(draw(layer, x, 30, 'pass', 0, images=0)) == 0


def test_nothing_is_drawn_from_an_empty_input():
    layer, empty = pointwise(3), torch.empty(0, 3, 5, 5)
    for images in (0, 1, 2):
        assert draw(layer, empty, 8, 'pass', 0, images).shape == (0, 1, 3)
    for observer in (MomentObserver(layer, 8), PassObserver(layer, CurrentBatch(images=0), 8, None),
                     PassObserver(layer, CurrentBatch(images=0, counts=False), 8, None)):
        observer(layer, empty)
        assert observer.moments.count == 0 and observer.moments.reference is None


def test_every_call_draws_anew_and_only_every_so_many_are_looked_at():
    layer, x = pointwise(), numbered()
    observer, means, counts = MomentObserver(layer, 20, every=3), [], []
    for _ in range(7):
        observer(layer, x)
        counts.append(observer.moments.count)
        means.append(observer.moments.mean.item())
    assert counts == [20, 20, 20, 40, 40, 40, 60]
    assert len({means[0], means[3], means[6]}) == 3
