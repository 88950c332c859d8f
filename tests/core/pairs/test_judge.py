"""What the judge, who sees no label, lets through, and what is refused before anything changes."""
import copy
from math import inf

import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, PairConfig, convert_, denoise_pairs_
from denoiserep_ext.core.pairs import judge
from denoiserep_ext.core.pairs.material import for_the_judge
from tests.core.pairs.test_walk import images, net


def one_batch(model_images=20):
    clean, worse = images(model_images)
    return clean, worse[0]


def test_distances_are_zero_for_the_same_and_grow():
    target = torch.randn(5, 7)
    for kind in ('js', 'cosine', 'feature'):
        near = judge.distances(kind, target + 0.1 * torch.randn(5, 7), target, 5)
        far = judge.distances(kind, target + 2.0 * torch.randn(5, 7), target, 5)
        torch.testing.assert_close(judge.distances(kind, target, target, 5).float(), torch.zeros(5))
        assert near.shape == (5, ) and (near >= 0).all() and near.mean() < far.mean()
    maps = [torch.randn(5, 4, 3, 3), torch.randn(5, 8, 2, 2)]
    wanted = sum(((m + 1 - m)**2).mean() / m.double().var(unbiased=False) for m in maps) / 2
    given = judge.distances('feature', [m + 1 for m in maps], maps, 5)
    torch.testing.assert_close(given, wanted.expand(5), rtol=1e-5, atol=0)


def test_a_gain_has_a_standard_error_and_that_of_one_image_none():
    before = torch.tensor([1.0, 2.0, 3.0, 4.0])
    mean, error = judge.gain(before, before - torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert mean == 0.5 and error == pytest.approx((1 / 3)**0.5 / 2)
    assert judge.gain(before[:1], before[:1])[1] == inf and not inf * judge.MARGIN < 1.0


def bench(images, held_out):
    """Numbers of the judge's images."""
    found = []
    for number in range(images):
        if for_the_judge(number, len(found), held_out):
            found.append(number)
    return found


@pytest.mark.parametrize('images, held_out, wanted', [
    (1000, 0.2, 200), (500, 0.2, 100), (400, 0.1, 48), (64, 0.2, 25), (10, 0.2, 4), (2, 0.2, 0),
    (1000, 0.5, 500), (1000, 0.0, 0)])
def test_the_judge_gets_its_share_and_more_of_few(images, held_out, wanted):
    assert len(bench(images, held_out)) == wanted
    last = [n for n in bench(images, held_out) if n >= images - 100]
    assert images < 500 or len(last) == pytest.approx(100 * held_out, abs=1)  # from all of the data


def test_a_gain_is_accepted_and_told():
    clean, worse = one_batch(400)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 5))
    model.double()
    model[3].weight.data *= 10  # scores that differ from image to image
    trained = copy.deepcopy(model)
    report = denoise_pairs_(model, [(clean, worse)], PairConfig())
    verdict = report.verdict
    assert verdict.accepted and verdict.images == 40 and report.images == 320
    assert verdict.before[0] < 1e-15 and verdict.after[1] < verdict.before[1]
    assert 'accepted' in str(report) and 'skip' not in str(report)
    with torch.no_grad():
        held = bench(400, 0.2)[1::2]  # every other of them for this
        target, after = trained(clean[held]), model(worse[held])
        wanted = judge.distances('js', after, target, 40).mean().item()
    assert verdict.after[1] == pytest.approx(wanted, rel=1e-9)


def test_a_model_that_gives_nan_for_clean_images_is_refused():
    clean, worse = one_batch()
    model = net()
    model.stem[1].bias.data[0] = float('nan')  # no layer that is fitted
    with pytest.raises(FloatingPointError, match='non-finite values .* for clean images'):
        denoise_pairs_(model, [(clean, worse)], PairConfig())


def test_without_a_gain_the_model_is_left_as_it_was():
    """Worse images that are other images: there is nothing to learn from the pairs."""
    clean, _ = one_batch(40)
    model = net()
    report = denoise_pairs_(model, [(clean, clean[torch.randperm(40)])], PairConfig(ridge=1e-4))
    assert not report.accepted and not report.verdict.accepted
    for key, value in net().state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
    assert all(layer.reason for layer in report)


def unchanged(model, plain):
    return all(torch.equal(a, b) for a, b in zip(plain.values(), model.state_dict().values()))


@pytest.mark.parametrize('pairs, message', [
    ([], 'no pairs of images'),
    ([torch.zeros(2, 3, 8, 8).double()], 'give (clean, worse)'),
    ([(torch.zeros(2, 3, 8, 8).double(), [])], 'no worse version'),
    ([(torch.zeros(2, 3, 8, 8).double(), torch.zeros(2, 3, 9, 8).double())], 'at one size'),
    ([(torch.zeros(0, 3, 8, 8).double(), torch.zeros(0, 3, 8, 8).double())], 'holds no image'),
    ([(torch.zeros(2, 3, 8, 8).double(), torch.zeros(2, 3, 8, 8).double()),
      (torch.zeros(2, 3, 8, 8).double(), [torch.zeros(2, 3, 8, 8).double()] * 2)], 'worse versions'),
])
def test_pairs_that_do_not_fit_are_named(pairs, message):
    model = net()
    plain = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message.replace('(', r'\(').replace(')', r'\)')):
        denoise_pairs_(model, pairs)
    assert unchanged(model, plain)


@pytest.mark.parametrize('where', ['worse', 'clean', 'first', 'weight', "the judge's"])
def test_what_is_not_finite_is_named_and_nothing_changes(where):
    clean, worse = one_batch()
    model = net()
    if where == 'weight':
        model.merge.weight.data[0, 0] = float('nan')
    else:
        own = {'first': 0, "the judge's": bench(len(clean), 0.2)[0]}.get(where, 3)
        (clean if where in ('clean', 'first') else worse)[own, 0, 0, 0] = float('nan')
    plain = copy.deepcopy(model.state_dict())
    messages = {'weight': 'merge', 'first': 'for clean images', "the judge's": "judge's images"}
    with pytest.raises(FloatingPointError, match=messages.get(where, r'stem\.0')):
        denoise_pairs_(model, [(clean, worse)], PairConfig(ridge=1e-2))
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num())
               for a, b in zip(plain.values(), model.state_dict().values()))
    assert not any(m._forward_hooks or 'forward' in m.__dict__ for m in model.modules())


class Standardised(nn.Module):
    def forward(self, x):
        return (x - x.mean(0)) / (x.std(0) + 1)


def test_a_model_that_looks_across_images_is_refused():
    clean, worse = one_batch()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Standardised(), nn.Flatten(), nn.Linear(144, 3)).double()
    with pytest.raises(ValueError, match='depends on the other images'):
        denoise_pairs_(model, [(clean, worse)])


def test_a_converted_model_and_an_empty_selection_are_refused():
    clean, worse = one_batch()
    model = net()
    with pytest.raises(ValueError, match='nowhere'):
        denoise_pairs_(model, [(clean, worse)], PairConfig(layers=['nowhere']))
    convert_(model, DenoiseRepConfig(layers='all'))
    with pytest.raises(ValueError, match='fuse_ it'):
        denoise_pairs_(model, [(clean, worse)])


class Choosing(nn.Module):
    """Keeps the three strongest positions, as a detector keeps proposals."""

    def __init__(self):
        super().__init__()
        self.conv, self.head, self.pick = nn.Conv2d(3, 4, 3), nn.Linear(4, 2), nn.Linear(4, 4)

    def forward(self, x):
        y = self.conv(x).flatten(2)
        index = y.sum(1).topk(3).indices.unsqueeze(1).expand(-1, 4, -1)
        chosen = y.gather(2, index).transpose(1, 2)
        return self.head(self.pick(chosen).mean(1))


def test_layers_behind_a_choice_are_left_and_say_why():
    clean, worse = one_batch()
    model = Choosing().double()
    report = denoise_pairs_(model, [(clean, worse)], PairConfig(layers='conv|pick', ridge=1e-2,
                                                                held_out=0.0))
    assert [layer.name for layer in report.changed] == ['conv']
    assert 'choice made from the data' in {layer.name: layer.reason for layer in report}['pick']


@pytest.mark.parametrize('options, message', [
    ({'form': 'kernel'}, 'choose one of patch'), ({'ridge': -1}, 'ridge must be'),
    ({'ridge': 'some'}, 'ridge must be'), ({'clean_weight': -0.1}, 'clean_weight must be'),
    ({'positions': 0}, 'positions must be'), ({'damping': 0}, 'damping must be'),
    ({'held_out': 0.9}, 'held_out must be'), ({'judge': 'me'}, 'choose one of auto'),
    ({'memory': -1}, 'memory must be'), ({'gpu_memory': -1}, 'gpu_memory must be'),
    ({'clean_weight': float('nan')}, 'clean_weight must be')])
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PairConfig(**options)
