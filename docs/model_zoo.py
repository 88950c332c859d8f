"""Writes docs/model_zoo.md and model-index.yml: what configs there are, and what is known of them.

    python docs/model_zoo.py

Read are the configs, docs/model_zoo.yml, and the metafiles of the installed MMPretrain, MMDetection
and MMSegmentation (published figures). No figure comes from anywhere else.
"""
from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ('joint', 'alternate', 'frozen', 'frozen-corruption')
HOSTS = ('mmpretrain', 'mmdet', 'mmseg')
FAMILIES = ('ResNet', 'ViT', 'Swin', 'VMamba')  # the paper's
EMBEDDED = ('digits', 'scenes')
METRICS = ('Top 1 Accuracy', 'box AP', 'mask AP', 'mIoU')
INDEX = '''# Read by OpenMIM. Written by docs/model_zoo.py. No results are listed: none has been
# measured on the full data sets.
'''
PAGE = '''# Model zoo

Written by `python docs/model_zoo.py`, which reads the configs and the toolboxes' metafiles.

* *Published* is the score of the checkpoint that training starts from, as the toolbox's metafile (for
  VMamba, its authors) gives it. Empty: no such checkpoint is published; the baseline config trains it.
* *Paper* is baseline → DenoiseRep as the paper reports it, where the figures are known to this project.
* *Here*: nothing on this page but the embedded data has been measured by this project. Figures of the
  embedded data are in [What was measured](concepts/measured.md).
* *control* is the baseline trained on as long as `joint`, without DenoiseRep; FastReID's is
  run by `tools/compare.py`. *corruption* is `frozen` with noise that is shown.
* A baseline in `monospace` is the toolbox's own config.

CLIP-ReID's ViT-B, the paper's strongest re-ID baseline, has no config: the pinned FastReID has neither
CLIP's text encoder nor a trainer for the prompts that its first stage learns.
'''


@dataclass
class Model:
    """One row: a model on one data set.

    Args:
        name: What the table calls it.
        stem: File name of its baseline, without the ending.
        configs: Path of its configs by kind: ``baseline``, ``control`` or a recipe.
    """

    name: str
    stem: str
    configs: dict[str, Path] = field(default_factory=dict)


def kind_of(path: Path) -> tuple[str, str]:
    """Stem of a config's baseline, and what the config is: ``baseline``, ``control`` or a recipe."""
    name = re.match(rf'(.*?)_(?:denoiserep-({"|".join(RECIPES)})|(control))(?:_(.*))?$', path.stem)
    if name is None:
        return path.stem, 'baseline'
    first, recipe, control, rest = name.groups()
    return f'{first}_{rest}' if rest else first, recipe or control


def models_of(entry: dict[str, Any]) -> dict[str, list[Model]]:
    """Rows of a data set by family.

    Args:
        entry: An entry of model_zoo.yml.

    Raises:
        ValueError: for a config that belongs to no model of the entry, or a model without configs.
    """
    families = {family: [Model(name, stem) for stem, name in models.items()]
                for family, models in entry['models'].items()}
    rows = {model.stem: model for models in families.values() for model in models}
    for path in sorted((ROOT / 'configs' / entry['folder']).iterdir()):
        if path.suffix not in ('.py', '.yml'):
            continue
        stem, kind = kind_of(path)
        if stem not in rows:
            raise ValueError(f'{path.relative_to(ROOT)}: docs/model_zoo.yml has no model {stem!r}.')
        rows[stem].configs[kind] = path.relative_to(ROOT)
    empty = [stem for stem, model in rows.items() if not model.configs]
    if empty:
        raise ValueError(f'docs/model_zoo.yml: no config in {entry["folder"]} for {", ".join(empty)}.')
    return families


@cache
def metafiles(host: str) -> dict[str, dict[str, Any]]:
    """What a host's metafiles say, by :func:`place` of the checkpoint."""
    spec = find_spec(host)
    if spec is None:
        raise ImportError(f'{host} is not installed, and its metafiles are read: bash tools/install.sh')
    found = {}
    for path in sorted(Path(spec.origin).parent.glob('.mim/configs/*/metafile.y*ml')):
        content = yaml.safe_load(path.read_text())
        for model in content['Models'] if isinstance(content, dict) else content:
            if isinstance(model.get('Weights'), str):
                found[place(model['Weights'])] = model
    return found


def place(address: str) -> str:
    """What the addresses of one checkpoint on several servers have in common."""
    return urlsplit(address).path


def published(entry: dict[str, Any], model: Model) -> tuple[str, str]:
    """Score of the checkpoint a model starts from, and the host's own config of it; '' where there is
    none."""
    control, host = model.configs.get('control'), entry['folder'].partition('/')[0]
    start = control and re.search("load_from = '(.*?)'", (ROOT / control).read_text()).group(1)
    if start and place(start) in (metafiles(host) if host in HOSTS else {}):
        meta = metafiles(host)[place(start)]
        scores: dict[str, float] = {}
        results = meta['Results']
        for result in results if isinstance(results, list) else [results]:
            scores.update(result['Metrics'])
        text = ' / '.join(f'{float(scores[m]):.10g}' for m in METRICS if m in scores)
        return text, meta['Config'].removeprefix('configs/')
    return str(entry.get('published', {}).get(model.stem, '')), ''


def table(entry: dict[str, Any], families: dict[str, list[Model]]) -> Iterator[str]:
    """Lines of one data set's table."""
    embedded = entry['folder'].endswith(EMBEDDED)
    yield f'## {entry["data"]}'
    yield ''
    yield (f'| {entry["metric"]} | published | paper | here | baseline | control | joint | alternate '
           '| frozen | corruption |')
    yield '|---' * 10 + '|'
    for model in [model for models in families.values() for model in models]:
        score, stock = published(entry, model)
        paper = ' → '.join(map(str, entry.get('paper', {}).get(model.stem, ())))
        links = [f'[config](../{model.configs[kind].as_posix()})' if kind in model.configs else ''
                 for kind in ('baseline', 'control', *RECIPES)]
        if not links[0]:
            links[0] = f'`{stock}`'
        here = 'README' if embedded else 'not measured'
        yield f'| {" | ".join([model.name, score, paper, here, *links])} |'.replace('  ', ' ')
    yield ''


def overview(zoo: list[tuple[dict[str, Any], dict[str, list[Model]]]]) -> Iterator[str]:
    """Lines of the table of data sets and families, and the reasons of its gaps."""
    yield f'| data | {" | ".join(FAMILIES)} | others |'
    yield '|---' * (len(FAMILIES) + 2) + '|'
    reasons = []
    for entry, families in zoo:
        cells = []
        for family in FAMILIES:
            cells.append('<br>'.join(model.name for model in families.get(family, ())))
            if family in entry.get('missing', {}):
                reason = f'* No {family} on {entry["data"]}: {entry["missing"][family]}'
                reasons += textwrap.wrap(reason, 100, subsequent_indent='  ', break_on_hyphens=False)
                cells[-1] = 'none, see below'
        cells.append('<br>'.join(model.name for family, models in families.items()
                                 if family not in FAMILIES for model in models))
        yield f'| {" | ".join([entry["data"], *cells])} |'.replace('  ', ' ')
    yield ''
    yield from reasons
    yield ''


def pages() -> dict[Path, str]:
    """Every file that is written, and its text."""
    entries = yaml.safe_load((ROOT / 'docs/model_zoo.yml').read_text())
    zoo = [(entry, models_of(entry)) for entry in entries]
    lines = [PAGE, *overview(zoo)]
    for entry, families in zoo:
        lines += table(entry, families)
    index = {
        'Collections': [{
            'Name': 'DenoiseRep',
            'Paper': {'URL': 'https://arxiv.org/abs/2406.08773',
                      'Title': 'DenoiseRep: Denoising Model for Representation Learning'},
            'README': 'README.md'}],
        'Models': [
            {'Name': path.stem, 'In Collection': 'DenoiseRep', 'Config': path.as_posix(),
             'Metadata': {'Training Data': entry['data']}}
            for entry, families in zoo if entry['folder'].startswith(HOSTS)
            for path in sorted(path for models in families.values() for model in models
                               for path in model.configs.values())]}
    return {ROOT / 'docs/model_zoo.md': '\n'.join(lines).rstrip() + '\n',
            ROOT / 'model-index.yml': INDEX + yaml.safe_dump(index, sort_keys=False, width=1000)}


if __name__ == '__main__':
    for path, text in pages().items():
        path.write_text(text)
        print(path.relative_to(ROOT))
