"""Evaluates a checkpoint with FastReID alone: this package cannot be imported here.

The shims are this file's own. Usage: stock_worker.py CONFIG WEIGHTS OUT.json
"""
import collections
import collections.abc
import json
import os
import sys
import types

sys.modules['denoiserep_ext'] = None
collections.Mapping = collections.abc.Mapping
six = types.ModuleType('torch._six')
six.string_classes = (str, bytes)
sys.modules['torch._six'] = six

config, weights, out = sys.argv[1:]
import yaml  # noqa: E402

with open(config) as file:
    content = yaml.safe_load(file)
if 'DENOISEREP' in content['MODEL']:  # a config of ours; others are taken as they are
    os.environ['FASTREID_DATASETS'] = content['DATASETS'].pop('ROOT')
    content.pop('SEED')
    content['MODEL']['BACKBONE'].pop('PRETRAIN_UNSAFE')
    content['MODEL'].pop('DENOISEREP')
    content['MODEL']['META_ARCHITECTURE'] = 'Baseline'

import fastreid.data.build as build  # noqa: E402
import torch  # noqa: E402
from fastreid.config import CfgNode, get_cfg  # noqa: E402
from fastreid.engine import DefaultTrainer  # noqa: E402
from fastreid.evaluation import ReidEvaluator  # noqa: E402
from fastreid.utils.checkpoint import Checkpointer  # noqa: E402

build.DataLoaderX = lambda rank, **kwargs: torch.utils.data.DataLoader(**{**kwargs, 'num_workers': 0})
ReidEvaluator._compile_dependencies = lambda self: None

cfg = get_cfg()
cfg.merge_from_other_cfg(CfgNode(content))
model = DefaultTrainer.build_model(cfg)
Checkpointer(model).load(weights)
assert type(model).__module__.startswith('fastreid.')
assert not any(name.startswith('denoiserep_ext.') for name in sys.modules)
results = DefaultTrainer.test(cfg, model)
with open(out, 'w') as file:
    json.dump({key: float(value) for key, value in results.items() if key != 'dataset'}, file)
