"""The commands that show what noise that is shown gives run, and their parts do what they say."""
import re

import numpy as np
import pytest
import torch

from tests.helpers import first_of
from tests.measure import (
    judge_rules,
    ready,
    rivals,
    shown_mobile,
    shown_noise,
    shown_settings,
    shown_transfer,
)
from tests.measure.bench import HELD, Bench
from tests.measure.worse import NOISES, worsener


@pytest.mark.parametrize('command', first_of([shown_noise, shown_transfer, shown_settings, judge_rules]))
def test_commands_print_their_tables(real_data, command, capsys):
    command.main(['--quick'])
    found = capsys.readouterr().out
    assert 'clean' in re.split('[Aa]ccuracy (?:\\(%\\)|in points)', found)[-1]


@pytest.mark.matrix
def test_hard_networks_are_trained_once_and_scored_with_and_without_the_judge(
        real_data, tmp_path, capsys):
    pytest.importorskip('mmpretrain', reason='needs mmpretrain (bash tools/install.sh)')
    weights = tmp_path / 'weights.pth'
    for _ in range(2):
        shown_mobile.main(['mobilenet-v2', '--weights', str(weights), '--quick'])
        found = capsys.readouterr().out
        assert 'patch, no judge' in found.split('accuracy (%)')[-1]
    assert weights.is_file()


@pytest.mark.parametrize('kind', first_of(sorted(ready.KINDS, reverse=True), 2))
def test_configs_of_real_data_are_read_by_their_host(real_data, tmp_path, kind):
    for host in ('mmdet', 'mmseg', 'fastreid'):
        pytest.importorskip(host, reason=f'needs {host} (bash tools/install.sh)')
    ready.main([kind, str(tmp_path)])
    if kind == 'osnet':
        from denoiserep_ext.reid import get_cfg
        cfg = get_cfg()
        cfg.merge_from_file(str(tmp_path / 'osnet.yml'))
        assert str((real_data / 'orl_market').resolve()) == cfg.DATASETS.ROOT
        assert (tmp_path / 'osnet.pth').is_file()
    else:
        from mmengine.config import Config
        cfg = Config.fromfile(tmp_path / f'{kind}.py')
        assert 'custom_hooks' not in cfg
        assert cfg.param_scheduler[0].T_max == cfg.train_cfg.max_iters


def test_images_of_the_fit_are_none_of_those_that_are_scored(real_data):
    bench = Bench(real_data, held=True)
    free = len(bench._train) - HELD
    fitted = bench.sample(['contrast x 0.3'], free).clean
    assert len(fitted) == free and len(bench.labels) == HELD
    held = {image.numpy().tobytes() for image in bench.scored('clean')}
    assert held.isdisjoint(image.numpy().tobytes() for image in fitted)


@pytest.mark.parametrize('name', [*NOISES, 'fog@2'])
def test_noises_are_repeatable_and_of_the_same_shape(name):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    once, twice = (worsener(name)(pixels, 5) for _ in range(2))
    assert once.dtype == np.uint8 and once.shape == pixels.shape
    assert (once == twice).all() and (once != pixels).any()


def test_adapted_norms_standardise_the_worse_images(real_data):
    bench = Bench(real_data, limit=0)
    model, sample = bench.model(), bench.sample(['contrast x 0.3'], 50)
    rivals.adapt_norms_(model, sample)
    seen = model.conv1(sample.worse[0])
    torch.testing.assert_close(model.bn1.running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(model.bn1.running_var, seen.var((0, 2, 3)))


def test_shifted_features_have_the_clean_mean_before_the_classifier(real_data):
    bench = Bench(real_data, limit=0)
    model, sample = bench.model(), bench.sample(['contrast x 0.3'], 50)
    with torch.no_grad():
        wanted = model(sample.clean).mean(0)
        rivals.shift_features_(model, sample)
        torch.testing.assert_close(model(sample.worse[0]).mean(0), wanted)


def test_training_moves_towards_its_targets(real_data, monkeypatch):
    monkeypatch.setattr(rivals, 'EPOCHS', 2)
    bench = Bench(real_data, limit=0)
    sample = bench.sample(['contrast x 0.3'], 64)
    teacher = bench.model()
    for train_ in (lambda model: rivals.distil_(model, sample, 1e-3, 0),
                   lambda model: rivals.fine_tune_(model, sample, 1e-3, 0)):
        model = bench.model()
        train_(model)
        assert not model.training
        with torch.no_grad():
            target = teacher(sample.clean).argmax(1)
            before, after = ((m(sample.worse[0]).argmax(1) == target).float().mean()
                             for m in (teacher, model))
        assert after > before
