"""Imported for what it does: short runs of mmengine spend half their time on what no test looks at,
laying out a config several times over, asking the compiler for its version, collecting garbage for every
data set."""
from functools import cache
from types import SimpleNamespace

from mmengine.config import config
from mmengine.dataset import base_dataset
from mmengine.runner import runner

config.FormatCode = lambda text, **_: (text, False)
runner.collect_env = cache(runner.collect_env)
base_dataset.gc = SimpleNamespace(collect=lambda: None)
