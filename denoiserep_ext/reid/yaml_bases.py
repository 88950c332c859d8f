"""``_BASE_`` of FastReID's YAML configs as a list: a model, a data set, a recipe, each written once."""
from __future__ import annotations

import os
from typing import Any

import yaml
from fastreid.config.config import BASE_KEY, CfgNode
from fastreid.utils.file_io import PathManager

_with_one_base = CfgNode.load_yaml_with_base


def load_yaml_with_base(filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
    """FastReID's function of that name, for which ``_BASE_`` may also list several files.

    Args:
        filename: YAML file. Its settings go over those of its bases, later bases over earlier ones;
            their paths are relative to it.
        allow_unsafe: See FastReID; a file that lists its bases is read as plain data in any case.

    Raises:
        ValueError: if a group of settings in one file is a single value in another.
    """
    with PathManager.open(filename, 'r') as file:
        try:
            settings = yaml.safe_load(file)
        except yaml.constructor.ConstructorError:
            settings = None
    if not isinstance(settings, dict) or not isinstance(settings.get(BASE_KEY), list):
        return _with_one_base(filename, allow_unsafe=allow_unsafe)
    merged: dict[str, Any] = {}
    for base in settings.pop(BASE_KEY):
        path = base if '://' in base else os.path.join(os.path.dirname(filename),
                                                       os.path.expanduser(base))
        _merge_(merged, CfgNode.load_yaml_with_base(path, allow_unsafe=allow_unsafe), path)
    _merge_(merged, settings, filename)
    return merged


def _merge_(settings: dict[str, Any], over: dict[str, Any], filename: str) -> None:
    for key, value in over.items():
        if key in settings and isinstance(value, dict) != isinstance(settings[key], dict):
            raise ValueError(f'{filename}: {key} is a group of settings in one file and a single value '
                             f'in another.')
        if isinstance(value, dict):
            _merge_(settings.setdefault(key, {}), value, filename)
        else:
            settings[key] = value
