"""Symmetric positive definite systems, solved in their own memory."""
from __future__ import annotations

import torch
from torch import Tensor

COLUMNS = 256  # of the inverse of a factor that are computed together


def factor_(systems: Tensor, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    """Cholesky factors ``L`` of ``S = L L^T`` in the memory of ``S``, and where that failed.

    LAPACK works by columns, which are the rows of a symmetric matrix: nothing is copied.

    Args:
        systems: ``S`` [n, d, d], contiguous; lost.
        check_errors: Raise ``torch.linalg.LinAlgError`` where there is no factor.

    Returns:
        ``L`` [n, d, d], lower triangular, and numbers [n] that are above 0 where there is none.
    """
    columns, failed = systems.mT, torch.empty(len(systems), dtype=torch.int32, device=systems.device)
    return tuple(torch.linalg.cholesky_ex(columns, check_errors=check_errors, out=(columns, failed)))


def solve(factors: Tensor, right: Tensor) -> Tensor:
    """``S^-1 B``; ``torch.cholesky_solve`` would copy the factors.

    Args:
        factors: ``L`` [n, d, d], see :func:`factor_`.
        right: ``B`` [n, d, m].
    """
    half = torch.linalg.solve_triangular(factors, right, upper=False)
    return torch.linalg.solve_triangular(factors.mT, half, upper=True)


def trace_of_inverse(factors: Tensor) -> Tensor:
    """``trace(S^-1)`` [n], a few columns of the inverse of a factor at a time: the sum of its squares.

    Args:
        factors: ``L`` [n, d, d], see :func:`factor_`.
    """
    size = factors.shape[-1]
    identity = torch.eye(size, COLUMNS, dtype=factors.dtype, device=factors.device)
    total = 0.0
    for start in range(0, size, COLUMNS):
        columns = identity[:size - start, :min(COLUMNS, size - start)]
        total = total + torch.linalg.solve_triangular(
            factors[:, start:, start:], columns.expand(len(factors), -1, -1),
            upper=False).square().sum((1, 2))
    return total
