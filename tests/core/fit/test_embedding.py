"""Within-class noise of embeddings and its posterior mean."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from denoiserep_ext.core.fit.embedding import ClassMoments, class_posterior, shrunk
from tests.elsewhere import GPU, SecondDevice


def labelled(classes=5, each=40, length=6, noise=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    means = 3 * torch.randn(classes, length, dtype=torch.float64, generator=generator) + 10
    labels = torch.arange(classes).repeat_interleave(each)
    mixing = torch.randn(length, length, dtype=torch.float64, generator=generator)
    x = means[labels] + noise * torch.randn(
        len(labels), length, dtype=torch.float64, generator=generator) @ mixing
    return x, labels, means


def moments_of(x, labels, classes=None):
    moments = ClassMoments(classes or int(labels.max()) + 1, x.shape[1])
    moments.update(x, labels)
    return moments


@given(st.integers(2, 6), st.integers(2, 9), st.integers(1, 7), st.integers(0, 10**6))
def test_between_and_within_are_the_textbooks(classes, each, length, seed):
    x, labels, _ = labelled(classes, each, length, seed=seed)
    between, within = moments_of(x, labels, classes + 2).between_and_within()  # two classes unseen
    means = np.stack([x[labels == k].numpy().mean(0) for k in range(classes)])
    around = x.numpy() - means[labels.numpy()]
    np.testing.assert_allclose(within, around.T @ around / (len(x) - classes), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(between, np.cov(means.T, bias=True).reshape(length, length),
                               rtol=1e-7, atol=1e-9)


def posterior(between, within, strength, new_classes):
    """Of a linear Gaussian model: what is left of an embedding when its noise is taken out."""
    if strength <= 1 and not new_classes:
        identity = torch.eye(len(within), dtype=torch.float64)
        return identity - strength * torch.linalg.solve(between + within, within).mT
    return torch.linalg.solve(between + strength * within, between).mT


@pytest.mark.parametrize('new_classes', [False, True])
@pytest.mark.parametrize('strength', [0.01, 0.7, 1.0, 30.0])
def test_posterior_is_the_formula(strength, new_classes):
    x, labels, _ = labelled()
    moments = moments_of(x, labels)
    between, within = moments.between_and_within()
    within = shrunk(within, 200 - 5)
    between = shrunk(between, 4) if new_classes else between
    mean = x.mean(0)
    expected = mean + (x - mean) @ posterior(between, within, strength, new_classes).mT
    ours = class_posterior(moments, strength, new_classes)(x)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_shrinkage_is_chens_and_brings_estimates_nearer_to_the_truth():
    """Formula (23) of the paper in numpy; a smaller mean error than the sample covariance."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.diag(torch.linspace(0.5, 2, 12, dtype=torch.float64))
    before, after = 0.0, 0.0
    for _ in range(50):
        x = torch.randn(8, 12, dtype=torch.float64, generator=generator) @ truth.sqrt()
        sample = x.T @ x / 8
        s, p, n = sample.numpy(), 12, 8
        squares, trace = np.trace(s @ s), np.trace(s)
        share = min(1, ((1 - 2 / p) * squares + trace**2) / (
            (n + 1 - 2 / p) * (squares - trace**2 / p)))
        expected = (1 - share) * s + share * trace / p * np.eye(p)
        np.testing.assert_allclose(shrunk(sample, 8), expected, rtol=1e-10, atol=1e-12)
        before += (sample - truth).norm().item()
        after += (shrunk(sample, 8) - truth).norm().item()
    assert after < 0.5 * before


def test_shrinkage_leaves_what_many_samples_show():
    covariance = torch.diag(torch.tensor([1.0, 2, 5], dtype=torch.float64))
    torch.testing.assert_close(shrunk(covariance, 1e9), covariance, rtol=1e-6, atol=1e-6)
    same = torch.eye(3, dtype=torch.float64)
    assert torch.equal(shrunk(same, 5), same)
    one = torch.full((1, 1), 2.0, dtype=torch.float64)
    assert torch.equal(shrunk(one, 3), one)


def test_new_classes_keep_directions_that_the_measured_ones_did_not_show():
    """Three classes span two of twenty directions; new classes may lie in any."""
    x, labels, _ = labelled(classes=3, each=50, length=20)
    moments = moments_of(x, labels)
    known, new = (class_posterior(moments, 1.0, flag).weight for flag in (False, True))
    assert torch.linalg.matrix_rank(known, rtol=1e-6) == 2
    assert torch.linalg.matrix_rank(new, rtol=1e-6) == 20


@pytest.mark.parametrize('new_classes', [False, True])
def test_weak_noise_leaves_the_embedding_nearly_as_it_is(new_classes):
    """Three classes in twenty directions: in proportion to the strength, without a jump at 1."""
    x, labels, _ = labelled(classes=3, each=50, length=20)
    moments, identity = moments_of(x, labels), torch.eye(20, dtype=torch.float64)
    change = [(class_posterior(moments, strength, new_classes).weight - identity).norm().item()
              for strength in (1e-9, 1e-8, 1e-7)]
    assert 0 < change[0] < 1e-5
    assert change[1:] == pytest.approx([10 * change[0], 100 * change[0]], rel=1e-2)
    below, above = (class_posterior(moments, s, new_classes).weight for s in (1 - 1e-9, 1 + 1e-9))
    torch.testing.assert_close(below, above, rtol=1e-6, atol=1e-6)


def test_posterior_brings_embeddings_nearer_to_the_means_of_their_classes():
    """The least squares estimate at strength 1, on embeddings that were not measured."""
    x, labels, means = labelled(classes=300, each=20, noise=2.0)
    seen = torch.arange(len(x)) % 2 == 0
    affine = class_posterior(moments_of(x[seen], labels[seen]), 1.0)
    before = (x - means[labels])[~seen].square().mean()
    after = (affine(x) - means[labels])[~seen].square().mean()
    assert after < 0.7 * before


def test_centred_leaves_the_mean_out_and_nothing_else():
    x, labels, _ = labelled()
    for strength in (0, 0.5):
        whole, centred = (class_posterior(moments_of(x, labels), strength, centred=c) for c in (0, 1))
        torch.testing.assert_close(centred(x) + x.mean(0), whole(x), rtol=1e-10, atol=1e-10)
        assert whole.left_out is None
        torch.testing.assert_close(centred.left_out, x.mean(0))


def test_strength_zero_changes_nothing():
    x, labels, _ = labelled()
    assert torch.equal(class_posterior(moments_of(x, labels), 0)(x), x)


@given(st.integers(1, 6), st.integers(1, 5))
def test_folding_equals_the_map(length, out):
    """Before and after a linear layer, float64 at 1e-10 and float32 at torch's default."""
    x, labels, _ = labelled(length=length)
    affine = class_posterior(moments_of(x, labels), 0.5)
    for dtype, tolerance in ((torch.float64, dict(rtol=1e-10, atol=1e-10)), (torch.float32, dict())):
        head, neck = nn.Linear(length, out).to(dtype), nn.Linear(out, length).to(dtype)
        with torch.no_grad():
            centred = (x - x.mean(0)).to(dtype)
            plain = class_posterior(moments_of(x - x.mean(0), labels), 0.5)
            weight, bias = plain.before_linear(head.weight, head.bias)
            torch.testing.assert_close(centred @ weight.mT + bias, head(plain(centred)), **tolerance)
            features = torch.randn(9, out, dtype=dtype)
            weight, bias = plain.after_linear(neck.weight, neck.bias)
            torch.testing.assert_close(features @ weight.mT + bias, plain(neck(features)), **tolerance)
    assert affine.weight.dtype == torch.float64


def test_parts_add_up_to_the_whole():
    x, labels, _ = labelled()
    whole, order = moments_of(x, labels), torch.randperm(len(x))
    parts = [moments_of(x[i], labels[i], 5) for i in order.split(70)]
    merged = parts[0].merge_(parts[1]).merge_(parts[2])
    copied = ClassMoments.from_state_dict(merged.state_dict())
    for mine, theirs in zip(copied.between_and_within(), whole.between_and_within()):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match='do not fit'):
        merged.merge_(ClassMoments(4, 6))


def test_moments_and_layers_may_be_on_different_devices():
    """Moments read from a file are on the CPU, the model on a GPU."""
    x, labels, _ = labelled()
    read, head = moments_of(x[:70], labels[:70], 5), nn.Linear(6, 2)
    whole = class_posterior(moments_of(x, labels), 0.5)
    expected = whole.before_linear(head.weight.detach(), head.bias.detach())
    with torch.no_grad(), SecondDevice():
        taken = ClassMoments(5, 6, GPU)
        taken.update(x[70:].to(GPU), labels[70:])
        affine = class_posterior(read.merge_(taken), 0.5, centred=True)
        assert class_posterior(taken.merge_(read), 0.5).weight.device == GPU
        found = affine.to(GPU).before_linear(head.weight.to(GPU), head.bias.to(GPU))
        assert affine.to(GPU).left_out.device == GPU
        torch.testing.assert_close(found[0].cpu(), expected[0])


def test_classes_that_were_not_seen_change_nothing():
    x, labels, _ = labelled(classes=4, each=6)
    seen, more = moments_of(x, labels), moments_of(x, 3 * labels, classes=20)
    for new_classes in (False, True):
        expected = class_posterior(seen, 0.5, new_classes)
        torch.testing.assert_close(class_posterior(more, 0.5, new_classes).weight, expected.weight)


def test_a_class_of_a_single_image_is_a_class():
    x, labels, _ = labelled(classes=4, each=6)
    labels[-5:] = 2
    moments = moments_of(x, labels)
    between, within = moments.between_and_within()
    between, within = shrunk(between, 4 - 1), shrunk(within, len(x) - 4)
    expected = posterior(between, within, 0.5, new_classes=True)
    torch.testing.assert_close(class_posterior(moments, 0.5, new_classes=True).weight, expected)


def test_moments_of_one_process_are_the_sum():
    moments = moments_of(*labelled()[:2])
    assert moments.reduced() is moments and moments.all.reduced() is moments.all


def test_a_batch_without_images_counts_for_nothing():
    x, labels, _ = labelled()
    moments = moments_of(x, labels)
    moments.update(x[:0], labels[:0])
    whole = moments_of(x, labels)
    assert torch.equal(moments.sums, whole.sums) and moments.all.count == len(x)


def test_fewer_images_than_dimensions_and_dead_channels_are_solved():
    x, labels, _ = labelled(classes=3, each=4, length=40)
    x[:, 7] = 0
    for new_classes in (False, True):
        affine = class_posterior(moments_of(x, labels), 1.0, new_classes)
        assert affine.weight.isfinite().all() and affine.weight.abs().max() < 10
        assert affine(x)[:, 7].abs().max() < 1e-6


def test_what_cannot_be_measured_is_refused():
    x, labels, _ = labelled()
    one_each = ClassMoments(5, 6)
    one_each.update(x[::40], labels[::40])
    for moments in (one_each, moments_of(x[:40], labels[:40])):
        with pytest.raises(ValueError, match='several images of a class'):
            class_posterior(moments, 1.0)
    with pytest.raises(ValueError, match='do not vary within classes'):
        class_posterior(moments_of(torch.ones_like(x), labels), 1.0)
    with pytest.raises(FloatingPointError, match='non-finite'):
        class_posterior(moments_of(x * math.inf, labels), 1.0)
    with pytest.raises(ValueError, match='Labels 0 to 4 do not fit 3'):
        ClassMoments(3, 6).update(x, labels)
    for strength in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match='strength'):
            class_posterior(moments_of(x, labels), strength)
