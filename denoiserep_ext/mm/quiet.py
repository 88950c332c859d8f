"""A warning of torch about itself that every command would begin with."""
from __future__ import annotations

import warnings


def import_functional_optimizers() -> None:
    """Import what mmengine's ZeroRedundancyOptimizer imports, before it does: torch 2.5 warns there
    that TorchScript is deprecated, past all filters, and no user of ours can do anything about it."""
    with warnings.catch_warnings(record=True):
        import torch.distributed.optim  # noqa: F401
