"""Every shipped config: loaded, built, two iterations of the real Runner, one evaluation."""
import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config

from denoiserep_ext.compare.stages import without_hook
from denoiserep_ext.core.layers import denoise_layers
from denoiserep_ext.core.selection import select
from denoiserep_ext.datasets.digits import write_image_folder
from denoiserep_ext.mm.models import build_model
from tests.mm.helpers import load, train
from tests.mm.miniature import COUNT, WRITERS

ROOT = Path(__file__).parents[2] / 'configs' / 'mmpretrain'
CONFIGS = sorted(path.relative_to(ROOT) for path in ROOT.glob('[!_]*/*.py'))
LIGHTER = {'large': ('tiny', 768), 'base': ('deit-tiny', 192), 'b': ('deit-tiny', 192)}
RECIPES = ('alternate', 'joint', 'frozen')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A folder with every miniature data set under data/."""
    root = tmp_path_factory.mktemp('miniature')
    attributes = None
    for writer, place in WRITERS.values():
        attributes = writer(root / place) or attributes
    write_image_folder(root / 'data/digits')
    from mmpretrain.datasets import CIFAR10
    patch = pytest.MonkeyPatch()
    for name, value in attributes.items():
        patch.setattr(CIFAR10, name, value)
    yield root
    patch.undo()


def assert_converts(cfg):
    """The config's own model is built and its layers are found."""
    backbone = build_model(cfg).backbone
    blocks = sum(type(m).__name__ in ('SwinBlock', 'TransformerEncoderLayer')
                 for m in backbone.modules())
    assert blocks and list(select(backbone, 'auto').values()).count(None) == 2 * blocks


@pytest.mark.slow
@pytest.mark.parametrize('path', CONFIGS, ids=str)
def test_config_trains_and_evaluates(path, data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    cfg = Config.fromfile(ROOT / path)
    hooks = [h for h in cfg.get('custom_hooks', []) if h['type'].endswith('DenoiseRepHook')]
    recipe = next((r for r in RECIPES if f'denoiserep-{r}_' in path.name), None)
    assert [h.get('recipe', 'joint') for h in hooks] == ([] if recipe is None else [recipe])
    if recipe is not None:
        assert cfg.load_from, 'DenoiseRep starts from a trained baseline'

    # Small enough for a test: two iterations, no downloads, no worker processes.
    cfg.load_from, cfg.work_dir, cfg.log_level = None, str(tmp_path), 'ERROR'
    cfg.experiment_name = path.stem
    cfg.model.backbone.pop('init_cfg', None)
    full = cfg.model.backbone.get('arch')
    if isinstance(full, str) and full in LIGHTER:
        # Minutes per iteration on two cores: the full one is built, its little sister is trained.
        assert_converts(cfg)
        cfg.model.backbone.arch, cfg.model.head.in_channels = LIGHTER[full]
        cfg.model.head.pop('hidden_dim', None)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
        loader.setdefault('collate_fn', dict(type='default_collate'))
    cfg.train_dataloader.dataset.indices = COUNT
    cfg.val_dataloader.dataset.indices = 2
    cfg.train_dataloader.batch_size = COUNT if recipe == 'alternate' else COUNT // 2
    for hook in hooks:
        if hook.get('recipe') == 'alternate':
            hook.period = 1  # one iteration of either block
    cfg.train_cfg.update(max_epochs=2 if recipe == 'alternate' else 1, val_interval=1)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)

    runner = train(cfg)
    assert runner.iter == 2
    assert runner.message_hub.get_scalar('val/accuracy/top1').current() >= 0
    state = load(tmp_path / f'epoch_{runner.epoch}.pth')['state_dict']
    assert not [key for key in state if 'denoiser' in key]
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    if recipe is not None:
        layers = [layer for _, layer in denoise_layers(runner.model)]
        assert layers and all(layer.denoiser.fitted for layer in layers)
        assert [layer.step for layer in layers] == list(range(len(layers), 0, -1))


def test_every_data_set_has_two_models_in_three_recipes():
    names = [str(path) for path in CONFIGS]
    for folder, models in (('imagenet', 4), ('cub', 2), ('pet', 2), ('flowers102', 2), ('cifar10', 2)):
        for recipe in RECIPES:
            found = [n for n in names if n.startswith(folder) and f'denoiserep-{recipe}_' in n]
            assert len(found) == models, (folder, recipe)


@pytest.mark.parametrize('path', [p for p in CONFIGS if 'denoiserep' in p.name], ids=str)
def test_start_is_published_or_trained_by_a_config_beside(path):
    """Checkpoints are those the host publishes for the very config that is inherited."""
    start = Config.fromfile(ROOT / path).load_from
    if start.startswith('work_dirs/'):
        folder, file = re.fullmatch(r'work_dirs/(.*)/epoch_(\d+)\.pth', start).groups()
        baseline = Config.fromfile(ROOT / path.parent / f'{folder}.py')
        assert baseline.train_cfg.max_epochs == int(file)
        return
    import mmpretrain
    index = Path(mmpretrain.__file__).parent / '.mim/configs'
    published = {model['Weights']: model['Config'] for metafile in index.glob('*/metafile.yml')
                 for model in yaml.safe_load(metafile.read_text())['Models'] if model.get('Weights')}
    joint = (ROOT / path).with_name(re.sub('-(alternate|frozen)_', '-joint_', path.name)).read_text()
    stock = re.search(r"_base_ = 'mmpretrain::(.*)'", joint).group(1)
    assert published[start] == f'configs/{stock}'


@pytest.mark.parametrize('path', [p for p in CONFIGS if 'denoiserep-joint' in p.name], ids=str)
def test_stock_hooks_are_kept(path):
    """Adding ours must not drop the hooks of the config that is inherited (EMA, say)."""
    text = (ROOT / path).read_text()
    base = re.search(r"_base_ = \[?'(.*?)'", text).group(1)
    if '::' in base:
        from mmengine.hub import get_config
        stock = get_config(base)
    else:
        stock = Config.fromfile((ROOT / path).parent / base)
    ours = without_hook(Config.fromfile(ROOT / path))
    assert list(ours.custom_hooks) == list(stock.get('custom_hooks') or [])
