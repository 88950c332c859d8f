"""Our keys in FastReID's config, and errors that name them."""
from dataclasses import fields
from pathlib import Path

import pytest

from denoiserep_ext import PairConfig, cli
from denoiserep_ext.core.fit.learning import LearningOptions
from denoiserep_ext.core.layer.config import DenoiseRepConfig
from denoiserep_ext.reid import get_cfg, read_config
from denoiserep_ext.reid.config import settings_of


def test_every_option_has_its_default():
    cfg = get_cfg()
    settings = settings_of(cfg)
    assert settings.config == DenoiseRepConfig()
    assert settings.options == LearningOptions(loss_weight=0.1)
    assert (settings.meta_arch, settings.target) == ('Baseline', 'backbone')
    assert settings.recipe.name == 'joint'
    assert settings.shown is None
    keys = {f.name.upper() for kind in (DenoiseRepConfig, LearningOptions, PairConfig)
            for f in fields(kind)} - {'JUDGE'}
    own = {'META_ARCH', 'TARGET', 'RECIPE', 'PERIOD', 'CORRUPTIONS', 'SEVERITY', 'IMAGES'}
    assert keys | own == set(cfg.MODEL.DENOISEREP)


def test_options_reach_the_core(tmp_path):
    file = tmp_path / 'c.yml'
    file.write_text('MODEL:\n  META_ARCHITECTURE: DenoiseRep\n  DENOISEREP:\n    LAYERS: [fc1, fc2]\n'
                    '    STEPS: [3, 2]\n    RECIPE: alternate\n    PERIOD: 4\n    MOMENT_TOKENS: null\n')
    settings = settings_of(read_config(file, ['MODEL.DENOISEREP.NOISE', 'relative']))
    assert settings.config.layers == ('fc1', 'fc2') and settings.config.steps == (3, 2)
    assert settings.config.noise == 'relative' and settings.recipe.period == 4
    assert settings.options.moment_tokens is None
    assert settings_of(read_config('', ['MODEL.DENOISEREP.LAYERS', 'all'])).config.layers == 'all'
    mgn = settings_of(read_config('', ['MODEL.DENOISEREP.META_ARCH', 'MGN']))
    assert mgn.target == ''


@pytest.mark.parametrize('overrides, words', [
    (['MODEL.DENOISEREP.STEP_STRIED', '2'], 'Did you mean MODEL.DENOISEREP.STEP_STRIDE'),
    (['MODEL.DENOISREP.NOISE', 'unit'], 'Did you mean MODEL.DENOISEREP.NOISE'),
    (['MODEL.DENOISEREP.STEP_STRIDE', 'two'], 'MODEL.DENOISEREP.STEP_STRIDE'),
    (['MODEL.DENOISEREP.NOISE', 'pink'], "Unknown noise 'pink': choose one of unit, relative"),
    (['MODEL.DENOISEREP.RECIPE', 'both'], "Unknown recipe 'both'"),
    (['MODEL.DENOISEREP.INTERVAL', '0'], 'interval must be an integer >= 1'),
    (['MODEL.DENOISEREP.DECAY', '1.5'], r'decay must lie in \[0, 1\]'),
    (['MODEL.DENOISEREP.RECIPE', 'frozen', 'TEST.PRECISE_BN.ENABLED', 'True'], 'choose one of the two'),
])
def test_wrong_options_are_named(overrides, words):
    with pytest.raises(ValueError, match=words):
        read_config('', ['MODEL.META_ARCHITECTURE', 'DenoiseRep', *overrides])


def test_typo_in_a_file_is_named(tmp_path):
    file = tmp_path / 'c.yml'
    file.write_text('MODEL:\n  DENOISEREP:\n    LAYER: all\n')
    with pytest.raises(ValueError, match='DENOISEREP.LAYER.* Did you mean MODEL.DENOISEREP.LAYERS'):
        read_config(file)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.yml: no such config file'):
        read_config(tmp_path / 'gone.yml')
    with pytest.raises(FileNotFoundError, match='MODEL.WEIGHTS .*gone.pth: no such checkpoint'):
        read_config('', ['MODEL.WEIGHTS', str(tmp_path / 'gone.pth')])


def test_configs_for_gpus_run_on_cpus(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    cfg = read_config('', ['SOLVER.AMP.ENABLED', 'True'])
    assert cfg.MODEL.DEVICE == 'cpu' and not cfg.SOLVER.AMP.ENABLED
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    cfg = read_config('', ['SOLVER.AMP.ENABLED', 'True'])
    assert cfg.MODEL.DEVICE == 'cuda' and cfg.SOLVER.AMP.ENABLED


def test_inspect_prints_what_a_config_would_convert(capsys):
    configs = Path(__file__).parents[2] / 'configs/fastreid/digits'
    for name in ('osnet_x0-25', 'osnet_x0-25_denoiserep-joint'):
        assert cli.main(['inspect', str(configs / f'{name}.yml')]) == 0
        table = capsys.readouterr().out
        assert '135 of ' in table and 'conv2.0.conv1.conv' in table
    assert cli.main(['inspect', 'gone.yml']) == 2
    assert 'gone.yml: no such config file' in capsys.readouterr().err
