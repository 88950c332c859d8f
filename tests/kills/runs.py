"""The runs that are killed: every host's training, and the tools that go on where they stopped."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.kills.given import Given, Steps


@dataclass
class Run:
    """What is started, and what it leaves.

    Args:
        name: What it is called in the table.
        steps: From the folder it writes to, the programs; the same ones go on where it stopped.
        result: From that folder, what has to be equal in the end.
    """

    name: str
    steps: Steps
    result: Callable[[Path], Any]


def runs(data: Path) -> dict[str, Run]:
    """All of them, by a short name.

    Args:
        data: Folder for data sets and what the runs start from; it is filled as needed.
    """
    given = Given(data)
    made = [
        Run('MMPretrain, joint', given.classifier('joint', {}, workers=2), last_checkpoint),
        Run('MMPretrain, alternate with SGD', given.classifier(
            'alternate', dict(recipe='alternate', solver='sgd', period=1)), last_checkpoint),
        Run('MMPretrain, frozen', given.classifier('frozen', dict(recipe='frozen')), last_checkpoint),
        Run('MMDetection, Mask R-CNN', given.dense('detector'), last_checkpoint),
        Run('MMSegmentation, SegFormer', given.dense('segmentor', workers=1), last_checkpoint),
        Run('FastReID, OSNet', given.reid, reid_checkpoint),
        Run('tools/compare.py, MMPretrain', given.compare, comparison),
        Run('tools/compare.py, FastReID', given.compare_reid, comparison),
        Run('tools/calibrate.py, sweep', given.calibrate_sweep, calibrated),
        Run('tools/calibrate.py, shared passes', given.calibrate_shares, calibrated),
        Run('tools/robustness.py', given.robustness, robustness),
    ]
    names = ('joint', 'alternate', 'frozen', 'detector', 'segmentor', 'fastreid', 'compare',
             'compare-reid', 'sweep', 'shares', 'robustness')
    return dict(zip(names, made))


# What has to be equal


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location='cpu', weights_only=False)  # of our own making


def last_checkpoint(folder: Path) -> Any:
    checkpoint = load(Path((folder / 'last_checkpoint').read_text()))
    return {key: checkpoint[key] for key in
            ('state_dict', 'denoiserep', 'optimizer', 'param_schedulers', 'generators')}


def reid_checkpoint(folder: Path) -> Any:
    assert (folder / 'last_checkpoint').read_text() == 'model_final.pth'
    return load(folder / 'model_final.pth')


def comparison(folder: Path) -> Any:
    inner, = (path.parent for path in folder.glob('*/comparison.json'))
    report = json.loads((inner / 'comparison.json').read_text())
    checkpoints = {result['row']: load(Path(result['checkpoint'])) for result in report['results']}
    weights = {row: saved.get('state_dict') or saved['model'] for row, saved in checkpoints.items()}
    return report['summary'], report['verdict'], report['costs'], weights


def calibrated(folder: Path) -> Any:
    figures = {path.name: json.loads(path.read_text()) for path in folder.glob('*.json')}
    return load(folder / 'out.pth')['state_dict'], figures


def robustness(folder: Path) -> Any:
    return json.loads((folder / 'robustness.json').read_text())
