"""Images made worse as in ImageNet-C; needs NumPy and ``pip install denoiserep_ext[corruptions]``."""
from .images import corrupt, least_side
from .names import ALL, BENCHMARK, GROUPS, HOLDOUT, SEVERITIES, Corruption, expand, parse

__all__ = ['ALL', 'BENCHMARK', 'GROUPS', 'HOLDOUT', 'SEVERITIES', 'Corruption', 'corrupt', 'expand',
           'least_side', 'parse']
