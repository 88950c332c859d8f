"""Choosing a strength: what is said of a curve, and that test images are looked at last."""
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

pytest.importorskip('scipy')

from denoiserep_ext.calibrate.denoising import Denoising  # noqa: E402
from denoiserep_ext.calibrate.host import Host  # noqa: E402
from denoiserep_ext.calibrate.images import DataOptions, choose  # noqa: E402
from denoiserep_ext.calibrate.one_pass import PassOptions  # noqa: E402
from denoiserep_ext.calibrate.plans import FURTHER, STRENGTHS, SweepOptions  # noqa: E402
from denoiserep_ext.calibrate.run import calibrate, outputs  # noqa: E402
from denoiserep_ext.calibrate.scores import Scores  # noqa: E402
from denoiserep_ext.calibrate.sweep import Point, Sweep  # noqa: E402
from denoiserep_ext.paired import interval  # noqa: E402


class Vectors(Dataset):
    """Noisy vectors of four classes."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        means = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
        self.labels = torch.arange(count) % 4
        self.x = means[self.labels] + torch.randn(count, 6, generator=generator)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.labels[index]


class ToyHost(Host):
    """A linear model on vectors; notes what it is asked for."""

    config_suffix, unit, target, classes, centres = '.txt', 'parts', '', 4, False

    def __init__(self, values=None):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 6)).eval()
        self.images, self.order = Vectors(64, 1), list(range(64))
        self.batch_size, self.workers, self.layers = 16, 0, 'all'
        self.collate = torch.utils.data.default_collate
        self.values, self.asked = values, []
        self.remember()

    def count(self, batch):
        return len(batch[0])

    def forward(self, batch):
        self.model(batch[0])

    def embed(self, batch):
        return self.model(batch[0]), batch[1]

    def fold_embedding(self, affine):
        layer = self.model[0]
        for tensor, value in zip((layer.weight, layer.bias), affine.after_linear(
                layer.weight.detach(), layer.bias.detach())):
            tensor.data.copy_(value)
        return 'no cost'

    def validate(self, corruption=None):
        self.asked.append('validate')
        units = np.full(5, 50.0) if self.values is None else self.values(self)
        return Scores('accuracy', float(units.mean()), units, {'accuracy': float(units.mean())})

    def test(self, corruption=None):
        self.asked.append('test')
        return {'accuracy': 50.0}

    split = 'toy images'

    def checkpoint(self):
        return {'state_dict': self.model.state_dict()}

    def write_config(self, path):
        raise AssertionError('the structure never changes here')


def moved(host):
    """How far the model is from the plain one."""
    return (host.model[0].weight - host._plain['0.weight']).norm().item()


def run(host, out, **options):
    return calibrate(host, out, Denoising(), PassOptions(),
                     SweepOptions(('relative', 'within_class'), (0.1, 1.0), **options))


def test_what_was_done_is_told_with_its_level_and_size(tmp_path, capsys):
    for name, denoising, level, strong in (
            ('a', Denoising('relative', 0.5), 'strength 0.5  loss', True),
            ('b', Denoising('relative', 1e-4), 'strength 0.0001  loss', False),
            ('c', Denoising('unit', step_stride=3), 'step    3  loss', False)):
        calibrate(ToyHost(), tmp_path / f'{name}.pth', denoising, PassOptions())
        printed = capsys.readouterr().out
        assert level in printed and 'weights change by' in printed
        assert ('Strong denoising' in printed) == strong


def test_a_flat_curve_writes_nothing_unless_asked(tmp_path, capsys):
    host = ToyHost()
    figures = run(host, tmp_path / 'a.pth')
    assert not figures['gains'] and 'the curve is flat' in figures['verdict']
    assert not (tmp_path / 'a.pth').exists()
    assert 'No gain, no model written' in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {'a_sweep.json', 'a_sweep.png'}
    run(host, tmp_path / 'b.pth', write_anyway=True)
    state = torch.load(tmp_path / 'b.pth', weights_only=True)['state_dict']
    assert not torch.equal(state['0.weight'], host._plain['0.weight'])


def test_a_falling_curve_is_no_gain(tmp_path):
    figures = run(ToyHost(lambda host: 50 - 10 * moved(host) + np.arange(5.0)), tmp_path / 'a.pth')
    assert 'nothing scores above the plain model' in figures['verdict']
    assert not (tmp_path / 'a.pth').exists()


def test_a_rise_within_the_noise_is_no_gain(tmp_path):
    def values(host):
        return 50 + moved(host) * np.array([30., -20, 25, -25, -5])
    figures = run(ToyHost(values), tmp_path / 'a.pth')
    assert figures['best']['gain'] > 0
    assert 'no gain beyond the noise' in figures['verdict'] and not (tmp_path / 'a.pth').exists()


def test_a_sure_rise_is_written_and_its_strength_chosen(tmp_path):
    host = ToyHost(lambda host: 50 + moved(host) + np.arange(5.0) * (1 + 0.01 * moved(host)))
    figures = run(host, tmp_path / 'a.pth')
    assert figures['gains'] and 'higher than the plain model' in figures['verdict']
    best = max(figures['points'], key=lambda point: point['value'])
    assert figures['best'] == best and figures['denoising'] == f'{best["noise"]}, strength 1'
    assert host.asked == ['validate'] * 5 + ['test'] * 2, 'test images come last'
    state = torch.load(tmp_path / 'a.pth', weights_only=True)['state_dict']
    assert (state['0.weight'] - host._plain['0.weight']).norm() > 0.1


def test_every_point_starts_from_the_model_as_loaded(tmp_path):
    seen = []
    host = ToyHost(lambda host: np.full(2, seen.append(moved(host)) or 50.0))
    run(host, tmp_path / 'a.pth')
    again = []
    host = ToyHost(lambda host: np.full(2, again.append(moved(host)) or 50.0))
    calibrate(host, tmp_path / 'b.pth', Denoising(), PassOptions(),
              SweepOptions(('within_class', 'relative'), (1.0, 0.1)))
    assert seen[0] == again[0] == 0
    assert sorted(seen) == pytest.approx(sorted(again), rel=1e-6)
    assert moved(host) == 0


def test_leaving_the_mean_out_is_scored_alone_too(tmp_path):
    host = ToyHost()
    host.centres = True
    figures = calibrate(host, tmp_path / 'a.pth', Denoising(), PassOptions(),
                        SweepOptions(['relative', 'within_class'], [0.1]))
    assert [(p['noise'], p['strength'], p['centred']) for p in figures['points']] == [
        ('relative', 0.1, False), ('within_class', 0.1, False),
        ('within_class', 0.0, True), ('within_class', 0.1, True)]


def swept(tmp_path, values, strengths=None):
    figures = calibrate(ToyHost(values), tmp_path / 'a.pth', Denoising(), PassOptions(),
                        SweepOptions(['within_class'], strengths))
    return [point['strength'] for point in figures['points']], figures


def test_a_sweep_goes_on_while_the_strongest_is_best(tmp_path):
    strengths, figures = swept(tmp_path, lambda host: 50 + moved(host) + np.arange(5.0))
    assert strengths == [*STRENGTHS, *FURTHER] and figures['best']['strength'] == FURTHER[-1]
    assert 'so 10, 30, 100, 300, 1000 were tried, too' in figures['remark']
    assert 'within_class is still best at the strongest tried, 1000' in figures['remark']


def test_a_sweep_ends_behind_its_peak(tmp_path):
    host = ToyHost()
    calibrate(host, tmp_path / 'peak.pth', Denoising('within_class', 20.0), PassOptions())
    peak = moved(host)
    strengths, figures = swept(tmp_path, lambda host: 100 - abs(moved(host) - peak) + np.arange(5.0))
    assert strengths == [*STRENGTHS, 10.0, 30.0, 100.0][:len(strengths)]
    assert figures['best']['strength'] in (10.0, 30.0) and strengths[-1] > figures['best']['strength']
    assert 'still best' not in figures['remark']


def test_a_sweep_keeps_to_strengths_that_were_named(tmp_path):
    rising = lambda host: 50 + moved(host) + np.arange(5.0)  # noqa: E731
    strengths, figures = swept(tmp_path, rising, [0.1, 1.0])
    assert strengths == [0.1, 1.0] and 'stronger ones may be better' in figures['remark']
    strengths, figures = swept(tmp_path, lambda host: 50 - moved(host) + np.arange(5.0))
    assert strengths == [*STRENGTHS] and figures['remark'] == ''


def test_moments_serve_again_and_belong_to_their_model(tmp_path):
    direct = calibrate(ToyHost(), tmp_path / 'a.pth', Denoising('relative', 0.5),
                       PassOptions(write=tmp_path / 'moments.pth'))
    assert direct['images'] == 64
    calibrate(ToyHost(), tmp_path / 'b.pth', Denoising('relative', 0.5),
              PassOptions(read=[tmp_path / 'moments.pth']))
    a, b = (torch.load(tmp_path / n, weights_only=True)['state_dict'] for n in ('a.pth', 'b.pth'))
    assert all(torch.equal(a[key], b[key]) for key in a)
    other = ToyHost()
    other.model[0].weight.data += 1
    other.remember()
    with pytest.raises(ValueError, match='other weights'):
        calibrate(other, tmp_path / 'c.pth', Denoising('relative', 0.5),
                  PassOptions(read=[tmp_path / 'moments.pth']))
    with pytest.raises(ValueError, match='hold no labelled embeddings'):
        calibrate(ToyHost(), tmp_path / 'c.pth', Denoising('within_class', 0.5),
                  PassOptions(read=[tmp_path / 'moments.pth']))
    with pytest.raises(ValueError, match='holds no moments'):
        calibrate(ToyHost(), tmp_path / 'c.pth', Denoising(), PassOptions(read=[tmp_path / 'a.pth']))
    assert not (tmp_path / 'c.pth').exists()


def test_shares_of_the_pass_merge_to_the_whole(tmp_path):
    noises = dict(sweep=SweepOptions(('relative', 'within_class'), (1.0, ), write_anyway=True))
    for k in (1, 2, 3):
        calibrate(ToyHost(), None, Denoising(), PassOptions(share=(k, 3), write=tmp_path / f'{k}.pth'),
                  **noises)
    shares = [tmp_path / f'{k}.pth' for k in (3, 1, 2)]
    merged = calibrate(ToyHost(), tmp_path / 'a.pth', Denoising(), PassOptions(read=shares), **noises)
    whole = calibrate(ToyHost(), tmp_path / 'b.pth', Denoising(), PassOptions(), **noises)
    assert merged['images'] == whole['images'] == 64
    a, b = (torch.load(tmp_path / n, weights_only=True)['state_dict'] for n in ('a.pth', 'b.pth'))
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize('when', ['pass', 'validation', 'saving'])
def test_an_interruption_leaves_no_half_file(tmp_path, when, monkeypatch):
    host = ToyHost()
    if when == 'pass':
        monkeypatch.setattr(host, 'forward', interrupted)
        monkeypatch.setattr(host, 'embed', interrupted)
    elif when == 'validation':
        monkeypatch.setattr(host, 'validate', interrupted)
    else:
        monkeypatch.setattr(torch, 'save', half_written)
    with pytest.raises(KeyboardInterrupt):
        run(host, tmp_path / 'a.pth', write_anyway=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('when', ['checkpoint', 'config'])
def test_a_run_killed_in_its_last_write_can_be_run_again(tmp_path, when, monkeypatch):
    """Also where the structure changes and a config is written, too."""
    def fold(affine):
        host.swap('0', nn.Linear(6, 6))
        return 'another structure'

    def write_config(path):
        path.write_text('config')
        if when == 'config':
            raise KeyboardInterrupt

    host = ToyHost()
    host.fold_embedding, host.write_config = fold, write_config
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        if when == 'checkpoint':
            killed.setattr(torch, 'save', half_written)
        within_class(host, tmp_path / 'a.pth')
    assert not any(path.exists() for path in outputs(tmp_path / 'a.pth', True, True))
    when = 'not at all'
    files = within_class(host, tmp_path / 'a.pth')['files']
    assert files == [str(tmp_path / name) for name in ('a.pth', 'a.txt')]
    assert {p.name for p in tmp_path.iterdir()} == {'a.pth', 'a.txt', 'a_sweep.json', 'a_sweep.png'}


def within_class(host, out):
    return calibrate(host, out, Denoising(), PassOptions(),
                     SweepOptions(('within_class', ), (1.0, ), write_anyway=True))


def interrupted(*_):
    raise KeyboardInterrupt


def half_written(_data, path):
    path.write_bytes(b'half')
    raise KeyboardInterrupt


@pytest.mark.parametrize('make, words', [
    (lambda: Denoising('within'), 'Unknown noise'),
    (lambda: Denoising('within_class'), 'needs a strength'),
    (lambda: Denoising('within_class', 1.0, steps=(1, )), 'not steps'),
    (lambda: Denoising('unit', -1.0), 'strength'),
    (lambda: Denoising('unit', 1.0, step_stride=2), 'strength'),
    (lambda: Denoising('unit', 1.0, centred=True), 'belongs to within_class'),
    (lambda: PassOptions(share=(3, 2)), 'K from 1 to N'),
    (lambda: PassOptions(share=(1, 2)), 'name the file'),
    (lambda: PassOptions(tokens=0), 'tokens'),
    (lambda: SweepOptions(('unit', ), (0.0, 1.0)), 'above 0'),
    (lambda: DataOptions(images=0), 'images'),
])
def test_bad_options_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_images_of_pass_and_validation_never_meet():
    for available in (2, 7, 100):
        passing, held = choose(available, DataOptions(images=None, val_images=30), True)
        assert not set(passing) & set(held)
        assert sorted(passing + held) == list(range(available))
        assert len(held) == min(30, available // 2)
    assert choose(10, DataOptions(images=4), False)[1] == []


def test_of_equal_points_the_weakest_is_the_best():
    plain = Scores('m', 1.0, np.ones(3), {'m': 1.0})
    points = tuple(Point(Denoising('unit', s), plain, *interval([0.0, 0, 0])) for s in (3.0, 0.1, 1.0))
    assert Sweep(plain, points, 'parts').best.setting.strength == 0.1
