"""Checks of values that users give."""
from __future__ import annotations

import numbers
import operator
from typing import Any


def is_integer(value: Any, least: int = 0) -> bool:
    """Whether a value is an integer (NumPy's count, booleans do not) and at least ``least``."""
    try:
        return not isinstance(value, bool) and operator.index(value) >= least
    except TypeError:
        return False


def is_number(value: Any) -> bool:
    """Whether a value is a real number (NumPy's count, booleans do not)."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def integer(name: str, value: Any, least: int = 0) -> int:
    """A value as a plain integer.

    Args:
        name: What it is called, for the message.
        value: What the user gave.
        least: The least it may be.

    Raises:
        ValueError: if it is no integer, or less.
    """
    if not is_integer(value, least):
        raise ValueError(f'{name} must be an integer >= {least}, got {value!r}.')
    return operator.index(value)
