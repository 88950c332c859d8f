"""What a walk did, in words, as JSON and as a picture."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core.files.writing import write_json
from ..core.pairs.config import PairConfig
from ..core.pairs.report import PairReport
from .picture import save_picture

NAME = 'denoiserep_pairs'


def described(report: PairReport, worse: Sequence[str]) -> str:
    """The report's table, and what the worse images are."""
    names = ', '.join(f'{number}: {name}' for number, name in enumerate(worse, start=1))
    return f'{report}\nworse images: {names}'


def save_report(report: PairReport, config: PairConfig, worse: Sequence[str], folder: Path,
                title: str) -> list[Path]:
    """Write ``denoiserep_pairs.json`` and ``.png`` to a folder.

    Args:
        report: What the walk did.
        config: All its settings.
        worse: In words, in the order of the report: what the worse images are.
        folder: Where to; made if need be.
        title: Of the picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, picture = (folder / f'{NAME}{ending}' for ending in ('.json', '.png'))
    write_json(strict({'worse': list(worse), 'config': asdict(config), 'denoised': report.accepted,
                        **report.as_dict()}), data)
    save_picture(report, picture, f'{title}: {", ".join(worse)}')
    return [data, picture]


def strict(value: Any) -> Any:
    """Plain data with what JSON has no number for in words."""
    if isinstance(value, dict):
        return {key: strict(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
