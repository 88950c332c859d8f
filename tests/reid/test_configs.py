"""Every shipped FastReID config: what it says is read; the ones of a kind of their own are run.

A run is two iterations of the real trainer and one evaluation, or one pass over worse images. By default
that is ``DEFAULT``; with ``--all`` all of them, of which other models than the first on other data sets
than the first are marked ``exhaustive``.
"""
import json
import re
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from fastreid.config import CfgNode

from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.corruptions import parse
from denoiserep_ext.reid import Trainer, read_config
from denoiserep_ext.reid.one_pass import fit_folder
from tests.reid.helpers import load, train
from tests.reid.miniature import IDENTITIES, SHOTS, WRITERS

ROOT = Path(__file__).parents[2] / 'configs/fastreid'
CONFIGS = sorted(p.relative_to(ROOT) for p in ROOT.glob('[!_]*/*.yml') if p.parent.name != 'digits')
FOLDERS = ('market1501', 'dukemtmc', 'msmt17', 'cuhk03-labelled', 'cuhk03-detected', 'vehicleid')
TRAINED = ('alternate', 'joint', 'frozen')
SHOWN = 'frozen-corruption'  # nothing is trained
MODELS = {'bot_r50', 'sbs_r50', 'osnet_x1', 'vit_s', 'vit_b', 'swin_t', 'vmamba_t'}
DEFAULT = {('market1501', 'vit_s', 'alternate'), ('market1501', 'osnet_x1', None),
           ('dukemtmc', 'osnet_x1', 'joint'),
           ('msmt17', 'osnet_x1', 'joint'), ('cuhk03-detected', 'osnet_x1', 'joint'),
           ('vehicleid', 'osnet_x1', 'joint')}


def parts(path):
    """Folder, model and recipe of a config."""
    model, _, recipe = path.stem.partition('_denoiserep-')
    return path.parent.name, model, recipe or None


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('reid-miniature')
    for write in WRITERS.values():
        write(root)
    return root


def read(path, *overrides):
    """A shipped config without its checkpoints, which are not here."""
    raw = CfgNode.load_yaml_with_base(str(ROOT / path))
    recipe = parts(path)[2]
    assert ('WEIGHTS' in raw['MODEL']) == (recipe is not None), 'DenoiseRep starts from a baseline'
    if recipe is not None:
        start = '/'.join(parts(path)[:2])
        assert raw['MODEL']['WEIGHTS'] == f'work_dirs/fastreid/{start}/model_final.pth'
    return read_config(ROOT / path, ['MODEL.BACKBONE.PRETRAIN', 'False', *overrides])


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    """Configs name checkpoints below the working directory; let there be some for reading."""
    monkeypatch.chdir(tmp_path)
    for path in CONFIGS:
        folder, model, _ = parts(path)
        file = tmp_path / f'work_dirs/fastreid/{folder}/{model}/model_final.pth'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def marks(path):
    """All models on one data set and one model on all data sets come before the rest."""
    folder, model, recipe = parts(path)
    if parts(path) in DEFAULT:
        return []
    one = model == 'osnet_x1' if folder != 'market1501' else (
        model not in ('vit_b', 'sbs_r50') or recipe == 'joint')
    # A fit from pairs of a whole model takes minutes.
    rest = not one or recipe == SHOWN and (folder, model) != ('market1501', 'osnet_x1')
    return [pytest.mark.matrix, *([pytest.mark.exhaustive] if rest else [])]


def each(*recipes, marked=False):
    """Parametrize by the configs of some recipes."""
    return pytest.mark.parametrize('path', [
        pytest.param(path, marks=marks(path) if marked else [], id=str(path))
        for path in CONFIGS if parts(path)[2] in recipes])


@pytest.mark.slow
@each(None, *TRAINED, marked=True)
def test_config_trains_and_evaluates(path, data, tmp_path, no_weights):
    recipe = parts(path)[2]
    batch = IDENTITIES * SHOTS // 2
    cfg = read(path, 'MODEL.WEIGHTS', '', 'DATASETS.ROOT', str(data), 'INPUT.SIZE_TRAIN', '[64, 32]',
               'INPUT.SIZE_TEST', '[64, 32]', 'SOLVER.IMS_PER_BATCH', str(batch),
               'DATALOADER.NUM_INSTANCE', '2', 'DATALOADER.NUM_WORKERS', '0',
               'TEST.IMS_PER_BATCH', '16', 'SOLVER.DELAY_EPOCHS', '0',
               'SOLVER.MAX_EPOCH', '2' if recipe == 'alternate' else '1',
               'MODEL.DENOISEREP.PERIOD', '1', 'OUTPUT_DIR', str(tmp_path / 'out'))
    if recipe == 'alternate':  # one iteration to each block
        cfg.SOLVER.IMS_PER_BATCH = IDENTITIES * SHOTS
        cfg.DATALOADER.NUM_INSTANCE = SHOTS
    cfg.INPUT.AUTOAUG.PROB = 1.0
    trainer = train(cfg)
    assert trainer.iter == 2
    results = trainer._last_eval_results
    for result in results.values() if len(cfg.DATASETS.TESTS) > 1 else [results]:
        assert 0 <= result['mAP'] <= 100
    state = load(tmp_path / 'out/model_final.pth')['model']
    assert not [key for key in state if 'denoiser' in key]
    assert all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point())
    layers = [layer for _, layer in denoise_layers(trainer.model)]
    assert bool(layers) == (recipe is not None)
    assert all(layer.denoiser.fitted for layer in layers)
    assert [layer.step for layer in layers] == list(range(len(layers), 0, -1))


@pytest.mark.slow
@each(SHOWN, marked=True)
def test_config_takes_out_noise_that_is_shown(path, data, tmp_path, no_weights):
    """From a baseline that never trained; where the judge finds no gain there is no file."""
    small = ('DATASETS.ROOT', str(data), 'INPUT.SIZE_TRAIN', '[64, 32]', 'INPUT.SIZE_TEST', '[64, 32]',
             'DATALOADER.NUM_WORKERS', '0', 'TEST.IMS_PER_BATCH', '8', 'MODEL.DENOISEREP.POSITIONS', '4',
             'MODEL.DENOISEREP.HELD_OUT', '0.5', 'OUTPUT_DIR', str(tmp_path / 'out'))
    cfg = read(path, *small)
    cfg.MODEL.HEADS.NUM_CLASSES = IDENTITIES
    (tmp_path / 'out').mkdir()
    plain = cfg.clone()
    plain.MODEL.META_ARCHITECTURE = 'Baseline'
    torch.save({'model': Trainer.build_model(plain).state_dict()}, cfg.MODEL.WEIGHTS)
    written = fit_folder(cfg, data / 'Market-1501-v15.09.15/bounding_box_train')
    report = json.loads((tmp_path / 'out/denoiserep_pairs.json').read_text())
    assert report['worse'] == list(cfg.MODEL.DENOISEREP.CORRUPTIONS)
    assert report['images'] == IDENTITIES * SHOTS // 2
    assert bool(written) == report['denoised']
    if written:
        state = load(written)['model']
        assert state.keys() == load(cfg.MODEL.WEIGHTS)['model'].keys()
        assert all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point())


@pytest.mark.parametrize('folder', FOLDERS)
def test_every_model_comes_in_every_recipe(folder):
    found = {(m, r) for f, m, r in map(parts, CONFIGS) if f == folder}
    assert found == {(m, r) for m in MODELS for r in (None, *TRAINED, SHOWN)}


@each(*TRAINED, SHOWN)
def test_settings_are_those_of_the_paper(path, no_weights):
    cfg, (folder, model, recipe) = read(path), parts(path)
    node, baseline = cfg.MODEL.DENOISEREP, read(Path(folder, f'{model}.yml'))
    assert ('frozen' if recipe == SHOWN else recipe) == node.RECIPE
    assert (node.NOISE == 'corruption') == (recipe == SHOWN)
    if recipe == 'alternate':
        assert (cfg.SOLVER.OPT, cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY) == ('SGD', 1e-4, 1e-4)
        assert (cfg.SOLVER.IMS_PER_BATCH, node.LR_MULT, node.LOSS_WEIGHT) == (128, 4.0, 0.1)
        assert (120 if folder.startswith('cuhk03') else 240) == cfg.SOLVER.MAX_EPOCH
    if recipe == 'frozen':
        assert cfg.DATALOADER.SAMPLER_TRAIN == 'TrainingSampler'  # the others look at labels
    if recipe == SHOWN:
        assert [parse(name).severity for name in node.CORRUPTIONS] == [3, 3, 3]
    assert f'work_dirs/fastreid/{folder}/{path.stem}' == cfg.OUTPUT_DIR
    for part in ('INPUT', 'DATASETS', 'MODEL.BACKBONE.NAME', 'MODEL.HEADS', 'MODEL.LOSSES'):
        assert attrgetter(part)(cfg) == attrgetter(part)(baseline), part


def test_file_names_say_what_is_in_them():
    for path in CONFIGS:
        assert re.fullmatch(r'[a-z0-9_]+?(_denoiserep-(alternate|joint|frozen|frozen-corruption))?\.yml',
                            path.name)
