"""Corruption noise in a host of two lines: what is walked, chosen, told and refused."""
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

pytest.importorskip('scipy')

from denoiserep_ext import PairConfig, denoise_pairs_  # noqa: E402
from denoiserep_ext.calibrate import pairs as module  # noqa: E402
from denoiserep_ext.calibrate.pairs import PairDenoising, PairOptions  # noqa: E402
from denoiserep_ext.calibrate.plans import PairSweepOptions  # noqa: E402
from denoiserep_ext.calibrate.run import calibrate, outputs  # noqa: E402
from denoiserep_ext.calibrate.scores import Scores  # noqa: E402
from denoiserep_ext.core.pairs.report import PairLayer, PairReport, Verdict  # noqa: E402
from denoiserep_ext.corruptions import Corruption  # noqa: E402
from denoiserep_ext.pairs.picture import save_picture  # noqa: E402
from tests.calibrate.test_sweep import ToyHost, Vectors, moved  # noqa: E402

NOISE = (Corruption('gaussian_noise', 3), )
UNJUDGED = PairDenoising(PairConfig(held_out=0.0))


class Noisy(Vectors):
    """Vectors with something added."""

    def __init__(self, count, seed, noise):
        super().__init__(count, seed)
        self.x = self.x + noise * torch.randn(count, 6, generator=torch.Generator().manual_seed(9))


class PairHost(ToyHost):
    """Two layers; the values of a validation come from a function of the host and the corruption."""

    def __init__(self, values=None, noise=1.0):
        super().__init__(values)
        self.model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4)).eval()
        self.noise = noise
        self.remember()

    def worse_images(self, corruptions, seed):
        return [Noisy(64, 1, self.noise) for _ in corruptions]

    def size(self, sample):
        return sample[0].shape

    def ready(self, batch):
        return batch[0]

    def outputs(self, model, batch):
        return model(batch)

    def validate(self, corruption=None):
        self.asked.append(corruption)
        units = np.full(5, 50.0) if self.values is None else self.values(self, corruption)
        return Scores('accuracy', float(units.mean()), units, {'accuracy': float(units.mean())})


def state(path):
    return torch.load(path, weights_only=True)['state_dict']


def test_a_walk_is_that_of_the_core(tmp_path):
    host = PairHost()
    figures = calibrate(host, tmp_path / 'a.pth', UNJUDGED, PairOptions(NOISE))
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4)).eval()
    model.load_state_dict(host._plain)
    denoise_pairs_(model, [(a, [b]) for a, b in zip(host.images.x.split(16),
                                                    Noisy(64, 1, 1.0).x.split(16))],
                   PairConfig(held_out=0.0))
    for key, value in model.state_dict().items():
        assert torch.equal(value, state(tmp_path / 'a.pth')[key])
    assert moved(host) > 0 and figures['images'] == 64


def test_files_are_there_as_announced_and_strict_json(tmp_path):
    out, source = tmp_path / 'a.pth', PairOptions(NOISE)
    calibrate(PairHost(), out, PairDenoising(PairConfig(form='bias', held_out=0.0)), source)
    assert sorted(outputs(out, False, False, source)) == sorted(tmp_path.iterdir())
    data = json.loads((tmp_path / 'a_pairs.json').read_text(), parse_constant=pytest.fail)
    assert data['layers'][0]['ridge'] == 'inf', 'the bias alone, which JSON has no number for'


def test_a_judge_without_a_gain_writes_no_model(tmp_path, capsys):
    host = PairHost(noise=0.0)
    figures = calibrate(host, tmp_path / 'a.pth', PairDenoising(), PairOptions(NOISE))
    assert moved(host) == 0 and 'files' not in figures
    assert 'No gain, no model written' in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {'a_pairs.json', 'a_pairs.png'}


def test_written_anyway_is_fitted_without_the_judge(tmp_path, monkeypatch):
    """Where it is the judge that stands in the way."""
    monkeypatch.setattr('denoiserep_ext.core.pairs.judge.gain', lambda *_: (-1.0, 1.0))
    host = PairHost()
    assert 'files' not in calibrate(host, tmp_path / 'a.pth', PairDenoising(), PairOptions(NOISE))
    figures = calibrate(host, tmp_path / 'a.pth', PairDenoising(),
                        PairOptions(NOISE, write_anyway=True))
    assert figures['files'] and moved(host) > 0 and figures['config']['held_out'] == 0
    calibrate(host, tmp_path / 'b.pth', UNJUDGED, PairOptions(NOISE))
    for key, value in state(tmp_path / 'a.pth').items():
        assert torch.equal(value, state(tmp_path / 'b.pth')[key])


def sweep(host, out, **options):
    return calibrate(host, out, UNJUDGED, PairOptions(NOISE),
                     PairSweepOptions(UNJUDGED, NOISE, **options))


def test_a_sweep_chooses_by_the_mean_over_clean_and_worse_images(tmp_path, monkeypatch):
    """Clean images prefer the plain model, worse ones a model that has moved, and more so."""
    def values(host, corruption):
        return 50 + (2 if corruption else -1) * moved(host) + np.arange(5.0) * (1 + 0.01 * moved(host))

    walks = []
    monkeypatch.setattr(module, 'denoise_pairs_',
                        lambda *args: walks.append(args) or denoise_pairs_(*args))
    host = PairHost(values)
    figures = sweep(host, tmp_path / 'a.pth')
    points = figures['points']
    assert [point['clean_weight'] for point in points] == [0.3, 1, 3, 0.3, 0.3]
    assert [point['damping'] for point in points] == [1, 1, 1, 0.5, 1]
    assert [point['ridge'] for point in points] == ['auto'] * 4 + [0.01]
    assert len(walks) == 5, 'no walk is gone twice'
    assert host.asked == [None, *NOISE] * 6 + ['test'] * 4, 'test images come last'
    for point in points:
        clean, worse = (point['metrics'][f'{prefix}accuracy']
                        for prefix in ('', 'gaussian_noise@3: '))
        assert point['value'] == pytest.approx((clean + worse) / 2) and clean < worse
    assert figures['gains'] and figures['best'] == max(points, key=lambda point: point['value'])
    assert figures['metric'] == 'mean accuracy'
    best = PairDenoising(PairConfig(held_out=0.0, clean_weight=0.3, ridge=figures['best']['ridge'],
                                    damping=figures['best']['damping']))
    calibrate(PairHost(), tmp_path / 'b.pth', best, PairOptions(NOISE))
    for key, value in state(tmp_path / 'a.pth').items():
        assert torch.equal(value, state(tmp_path / 'b.pth')[key])


def test_what_is_lost_on_clean_images_counts(tmp_path):
    """What worse images gain clean ones lose: on the mean there is nothing in it."""
    def values(host, corruption):
        return 50 + (1 if corruption else -1) * moved(host) + np.arange(5.0)
    figures = sweep(PairHost(values), tmp_path / 'a.pth')
    assert not figures['gains'] and 'no gain' in figures['verdict']
    assert {path.name for path in tmp_path.iterdir()} == {'a_sweep.json', 'a_sweep.png'}


def test_the_interval_is_paired_and_of_the_mean(tmp_path):
    """Units that go up and down together under both conditions are no gain; against each other they
    cancel out."""
    swing = np.array([30.0, -20, 25, -25, -5])
    together = sweep(PairHost(lambda host, _: 50 + moved(host) * swing), tmp_path / 'a.pth')
    assert together['best']['gain'] > 0 and not together['gains']
    apart = sweep(PairHost(lambda host, c: 50 + moved(host) * ((1 if c else -1) * (swing - 1) + 1)),
                  tmp_path / 'b.pth')
    assert apart['gains'] and apart['best']['half_width'] == pytest.approx(0, abs=1e-9)


def test_of_equal_settings_the_most_cautious_is_best(tmp_path):
    assert sweep(PairHost(), tmp_path / 'a.pth')['best']['clean_weight'] == 3
    settings = [UNJUDGED.but(damping=damping) for damping in (1.0, 0.5)]
    assert max(settings, key=lambda setting: setting.caution).config.damping == 0.5


@pytest.mark.parametrize('names', [1, 5, 150])
@pytest.mark.parametrize('accepted', [True, False])
def test_the_picture_holds_any_number_of_layers(tmp_path, names, accepted):
    layers = tuple(PairLayer(f'backbone.stage{i // 10}.conv{i}', None if i % 3 else 'left',
                             (0.5, 0.0), (0.3, 0.1)) for i in range(names))
    rest = (PairLayer('head', 'classifier head'), )
    verdict = Verdict('js', 5, (0.0, 1.0), (0.1, 0.5), None, None, 0.2, 0.1, accepted)
    save_picture(PairReport(layers + rest, 9, verdict, 1.0, 0.1), tmp_path / 'a.png', 'title')
    assert 1200 < Image.open(tmp_path / 'a.png').size[0] < 4000


def test_bad_settings_are_refused_before_images_are_read(tmp_path, monkeypatch):
    def refused(words, setting=UNJUDGED, source=None, plan=None, **attributes):
        host = PairHost()
        host.images = None  # nobody looks
        for name, value in attributes.items():
            setattr(host, name, value)
        with pytest.raises(ValueError, match=words):
            calibrate(host, tmp_path / 'a.pth', setting, source or PairOptions(NOISE), plan)
        assert not list(tmp_path.iterdir())

    refused('either names of corruptions or a folder', source=PairOptions())
    refused('either names of corruptions or a folder', has_worse=True)
    refused('selects none', layers='nothing')
    refused("no part 'body'", target='body')
    refused('3 images in a process are too few for a judge', PairDenoising(), order=[0, 1, 2])
    monkeypatch.setattr(module, 'several_processes', lambda: True)
    refused('so it runs in one process', plan=PairSweepOptions(UNJUDGED, NOISE))


class Damaged(Vectors):
    """The sixth cannot be read."""

    def __getitem__(self, index):
        assert index != 5
        return super().__getitem__(index)


@pytest.mark.parametrize('change, words', [
    (dict(images=Damaged(64, 1)), r'^Damaged-5\.png: assert'),
    (dict(size=lambda sample: (7, round(100 * sample[0].sum().item()))),
     r'Vectors-\d+\.png leaves the pipeline with -?\d+ x 7 px and Noisy-\d+\.png with -?\d+ x 7'),
    (dict(worse_images=lambda *_: [Noisy(63, 1, 1.0)]), 'not as many worse images'),
])
@pytest.mark.parametrize('workers', [0, 1])
def test_images_that_cannot_be_read_or_paired_are_named(tmp_path, change, words, workers):
    """Without the traceback of a loading process."""
    host = PairHost()
    host.workers = workers
    host.file = lambda dataset, index: f'{type(dataset).__name__}-{index}.png'
    for name, value in change.items():
        setattr(host, name, value)
    with pytest.raises(ValueError, match=words):
        calibrate(host, tmp_path / 'a.pth', UNJUDGED, PairOptions(NOISE))
    assert not list(tmp_path.iterdir())
