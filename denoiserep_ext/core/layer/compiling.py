"""What has no place in a compiled graph."""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


def outside_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep a function out of compiled graphs. What torch needs for that takes seconds to import, so it
    is used only where something is being compiled."""
    disabled = torch._disable_dynamo(function)

    @wraps(function)
    def call(*args: Any) -> Any:
        return disabled(*args) if torch.compiler.is_compiling() else function(*args)

    return call
