"""The regression of one layer against independent solutions."""
from math import inf

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from denoiserep_ext.core.pairs.positions import Positions, draw_rows
from denoiserep_ext.core.pairs.regression import PairSums, System, fit_halves


def drawn(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def sums_of(x, r, **options):
    sums = PairSums(x.shape[1], x.shape[2], r.shape[2], **options)
    for part, lack in zip(x.split(17), r.split(17)):
        sums.update(part, lack)
    return sums


@given(groups=st.integers(1, 3), inputs=st.integers(1, 7), outputs=st.integers(1, 5),
       shift=st.booleans(), clean=st.floats(0.1, 3.0), seed=st.integers(0, 10**6))
def test_the_solution_is_weighted_least_squares(groups, inputs, outputs, shift, clean, seed):
    """torch.linalg.lstsq on stacked, weighted rows is the judge; worse and clean images differ in mean,
    spread and number."""
    generator = torch.Generator().manual_seed(seed)
    parts, rows, values = [], [], []
    shares = 1 / (1 + clean), clean / (1 + clean)
    for count, share in zip((60, 45), shares):
        x = 3 * drawn(generator, 1, groups, inputs) + drawn(generator, count, groups, inputs)
        r = drawn(generator, 1, groups, outputs) + drawn(generator, count, groups, outputs)
        parts.append((sums_of(x, r), share))
        own = torch.cat([x, torch.ones(count, groups, 1, dtype=x.dtype)], -1) if shift else x
        rows.append(own * (share / count)**0.5)
        values.append(r * (share / count)**0.5)
    system = System.of(parts, shift)
    step = system.solve(0.0)
    offset = system.lack - (step @ system.mean.unsqueeze(-1)).squeeze(-1)
    stacked, right = torch.cat(rows).transpose(0, 1), torch.cat(values).transpose(0, 1)
    wanted = torch.linalg.lstsq(stacked, right).solution
    torch.testing.assert_close(step, wanted[:, :inputs].mT, rtol=1e-8, atol=1e-10)
    if shift:
        torch.testing.assert_close(offset, wanted[:, inputs], rtol=1e-8, atol=1e-10)
    error = (right - stacked @ wanted).square().sum()
    found = system.error(step, system.lack, system.mean)
    torch.testing.assert_close(found, error, rtol=1e-8, atol=1e-10)


@given(st.integers(0, 10**6), st.sampled_from([1e-3, 0.1, 10.0]), st.booleans())
def test_a_ridge_is_one_of_rows_that_ask_for_nothing(seed, ridge, shift):
    generator = torch.Generator().manual_seed(seed)
    x, r = drawn(generator, 50, 1, 6), drawn(generator, 50, 1, 3)
    step = System.of([(sums_of(x, r), 1.0)], shift).solve(ridge)
    x, r = x[:, 0], r[:, 0]
    if shift:
        x, r = x - x.mean(0), r - r.mean(0)
    power = x.square().sum() / len(x) / 6
    rows = torch.cat([x, (len(x) * ridge * power).sqrt() * torch.eye(6, dtype=x.dtype)])
    wanted = torch.linalg.lstsq(rows, torch.cat([r, torch.zeros(6, 3, dtype=r.dtype)])).solution.mT
    torch.testing.assert_close(step[0], wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize('what', ['fewer samples than inputs', 'dead inputs', 'constant inputs',
                                  'all inputs zero', 'twins'])
@pytest.mark.parametrize('shift', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_singular_inputs_are_sound_through_the_ridge(what, shift, dtype):
    generator = torch.Generator().manual_seed(0)
    x, r = drawn(generator, 40, 1, 64), drawn(generator, 40, 1, 4)
    if what == 'dead inputs':
        x[:, :, ::2] = 0
    elif what == 'constant inputs':
        x[:, :, :] = 1e3
    elif what == 'all inputs zero':
        x.zero_()
    elif what == 'twins':
        x[:, :, 32:] = x[:, :, :32]
    step = System.of([(sums_of(x, r, dtype=dtype), 1.0)], shift).solve(1e-2)
    assert step.isfinite().all()
    # No ridge solution is longer than the lack over twice the root of the ridge.
    power = (x - x.mean(0) if shift else x).square().mean()
    if power > 1e-9:
        assert step.norm() <= r.square().sum(-1).mean().sqrt() / (2 * (1e-2 * power).sqrt()) * 1.01
    if what == 'dead inputs':
        assert step[..., ::2].abs().max() == 0
    if what == 'twins':
        torch.testing.assert_close(step[..., :32], step[..., 32:])


def halves_of(x, r, clean=None):
    empty = PairSums(1, x.shape[2], r.shape[2])
    clean = empty if clean is None else clean
    return [(sums_of(x[i::2], r[i::2]), clean) for i in range(2)]


def test_cross_validation_leaves_what_it_cannot_better():
    """With a lack that has nothing to do with the input, any step is worse than none."""
    generator = torch.Generator().manual_seed(1)
    x, r = drawn(generator, 60, 1, 40), drawn(generator, 60, 1, 3)
    r -= r.mean(0)
    fit = fit_halves(halves_of(x, r), (1.0, 0.0), (1e-4, 1e-2), False, choose=True)
    assert fit.ridge is None and fit.step.abs().max() == 0 and fit.before == fit.after
    forced = fit_halves(halves_of(x, r), (1.0, 0.0), (1e-4, ), False, choose=False)
    assert forced.ridge == 1e-4 and forced.after[0] > forced.before[0]


def test_cross_validation_takes_a_shift_alone_where_only_the_mean_is_off():
    generator = torch.Generator().manual_seed(2)
    x = drawn(generator, 60, 1, 40)
    r = 5 + drawn(generator, 60, 1, 3)
    fit = fit_halves(halves_of(x, r), (1.0, 0.0), (1e-4, 1e-2, inf), True, choose=True)
    assert fit.ridge == inf and fit.step.abs().max() == 0
    torch.testing.assert_close(fit.shift[0], r.mean((0, 1)), rtol=1e-10, atol=0)


def test_the_error_between_halves_is_that_of_fitting_on_one_and_testing_on_the_other():
    generator = torch.Generator().manual_seed(3)
    x = drawn(generator, 80, 1, 5)
    r = x @ drawn(generator, 5, 2) + 0.3 * drawn(generator, 80, 1, 2)
    fit = fit_halves(halves_of(x, r), (1.0, 0.0), (1e-6, ), True, choose=True)
    wanted = 0.0
    for own, other in ((0, 1), (1, 0)):
        rows = torch.cat([x[:, 0], torch.ones(80, 1, dtype=x.dtype)], 1)
        a = torch.linalg.lstsq(rows[own::2], r[own::2, 0]).solution
        wanted += 0.5 * (r[other::2, 0] - rows[other::2] @ a).square().sum(1).mean().item()
    assert fit.after[0] == pytest.approx(wanted, rel=1e-4)


@given(st.data())
def test_patches_times_weights_are_the_layer(data):
    """What a layer reads at a position, times its weight, is what it gives there: for every stride,
    dilation, kernel, group count, padding and padding mode."""
    draw = data.draw
    torch.manual_seed(draw(st.integers(0, 10**6)))
    groups = draw(st.sampled_from([1, 2, 4]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    mode = draw(st.sampled_from(['zeros', 'reflect', 'replicate', 'circular']))
    same = draw(st.booleans())
    stride = (1, 1) if same else draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = 'same' if same else draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    layer = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups, draw(st.booleans()), mode)
    layer.double()
    x = torch.randn(3, 4, 7, 8, dtype=torch.float64)
    if draw(st.booleans()):
        x = x.to(memory_format=torch.channels_last)
    y = layer(x)
    positions = Positions(layer)
    rows, image = draw_rows(positions.count(y), 3, 10, torch.Generator().manual_seed(0))
    reads = positions.reads(x, y, rows)
    weight = layer.weight.reshape(positions.sizes[0], positions.sizes[2], positions.sizes[1])
    given = torch.einsum('god,ngd->ngo', weight, reads).flatten(1)
    if layer.bias is not None:
        given = given + layer.bias
    torch.testing.assert_close(given, positions.vectors(y, rows), rtol=0, atol=1e-10)
    assert (rows // (positions.count(y) // 3) == image).all()


@given(st.sampled_from([(5, 6), (2, 4, 6), (2, 3, 4, 6)]))
def test_vectors_of_a_linear_layer(shape):
    layer, x = nn.Linear(6, 3).double(), torch.randn(shape, dtype=torch.float64)
    y = layer(x)
    positions = Positions(layer)
    rows, _ = draw_rows(positions.count(y), 1, 7, torch.Generator().manual_seed(0))
    given = positions.reads(x, y, rows)[:, 0] @ layer.weight.T + layer.bias
    torch.testing.assert_close(given, positions.vectors(y, rows), rtol=0, atol=1e-12)


def test_places_are_drawn_alike_from_every_image_and_without_repetition():
    rows, image = draw_rows(4 * 50, 4, 20, torch.Generator().manual_seed(0))
    assert len(rows.unique()) == 80 and (image.bincount() == 20).all()
    assert (rows // 50 == image).all()
    counts = sum(draw_rows(100, 1, 10, torch.Generator().manual_seed(s))[0].bincount(minlength=100)
                 for s in range(500))
    assert counts.min() > 20 and counts.max() < 90  # 50 expected, sd 6.7: all places are drawn
