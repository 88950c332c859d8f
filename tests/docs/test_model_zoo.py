"""Model zoo and model-index.yml: in step with the configs, and no figure without a source."""
import re
import runpy
from pathlib import Path

import pytest
import yaml

pytest.importorskip('mmpretrain', reason='reads the metafiles of the toolboxes (bash tools/install.sh)')
pytest.importorskip('mmdet', reason='reads the metafiles of the toolboxes (bash tools/install.sh)')
pytest.importorskip('mmseg', reason='reads the metafiles of the toolboxes (bash tools/install.sh)')

ROOT = Path(__file__).parents[2]
ZOO = runpy.run_path(str(ROOT / 'docs/model_zoo.py'))
ENTRIES = yaml.safe_load((ROOT / 'docs/model_zoo.yml').read_text())


@pytest.mark.parametrize('path', ZOO['pages'](), ids=lambda path: path.name)
def test_page_is_what_the_script_writes(path):
    assert path.read_text() == ZOO['pages']()[path], 'run python docs/model_zoo.py'


def test_every_config_is_in_the_index_or_on_the_page():
    page = (ROOT / 'docs/model_zoo.md').read_text()
    configs = {path.relative_to(ROOT).as_posix() for path in ROOT.glob('configs/*/[!_]*/*.*')}
    assert set(re.findall(r'\]\(\.\./(configs/.*?)\)', page)) == configs
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert {model['Config'] for model in index['Models']} == {
        path for path in configs if path.endswith('.py')}


@pytest.mark.parametrize('entry', ENTRIES, ids=lambda entry: entry['folder'])
def test_comments_of_controls_and_the_table_give_the_same_figures(entry):
    for model in [m for models in ZOO['models_of'](entry).values() for m in models]:
        score, _ = ZOO['published'](entry, model)
        source = model.configs.get('control') or model.configs['baseline']
        comment = re.sub(r'\n# ?', ' ', re.match('(#.*\n)*', (ROOT / source).read_text()).group())
        figures = {float(figure) for figure in re.findall(r'\d+\.\d+', comment)}
        assert {float(figure) for figure in score.split(' / ') if figure} <= figures, source


def test_an_unknown_config_and_an_empty_row_are_named():
    entry = {'data': 'Digits', 'folder': 'fastreid/digits', 'models': {'OSNet': {'osnet_x1': 'OSNet'}}}
    with pytest.raises(ValueError, match=r"digits/osnet\S*: docs/model_zoo.yml has no model 'osnet"):
        ZOO['models_of'](entry)
    entry['models']['OSNet']['osnet_x0-25'] = 'OSNet x0.25'
    with pytest.raises(ValueError, match='no config in fastreid/digits for osnet_x1'):
        ZOO['models_of'](entry)


@pytest.mark.parametrize('name, stem, kind', [
    ('resnet50_denoiserep-frozen-corruption_8xb32_in1k.py', 'resnet50_8xb32_in1k', 'frozen-corruption'),
    ('resnet50_control_8xb32_in1k.py', 'resnet50_8xb32_in1k', 'control'),
    ('vit_vit-b16_upernet_denoiserep-joint_8xb2-160k.py', 'vit_vit-b16_upernet_8xb2-160k', 'joint'),
    ('bot_r50_denoiserep-frozen.yml', 'bot_r50', 'frozen'),
    ('bot_r50.yml', 'bot_r50', 'baseline'),
])
def test_names_say_what_a_config_is(name, stem, kind):
    assert ZOO['kind_of'](Path(name)) == (stem, kind)
