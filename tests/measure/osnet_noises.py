"""OSNet trained on MSMT17, denoised with three kinds of noise: retrieval of faces it never saw.

Moments come from some of the training identities, strengths are chosen on the others, and tests are on
further ones, by FastReID's evaluator. Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.osnet_noises
"""
from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import torch

from denoiserep_ext.calibrate.fastreid import FastReID
from denoiserep_ext.calibrate.images import DataOptions
from tests.measure.noises import measure
from tests.measure.osnet import load_osnet, osnet_config


def main() -> None:
    logging.disable(logging.WARNING)
    data = Path(os.environ['DENOISEREP_TEST_DATA'])
    with tempfile.TemporaryDirectory() as folder:
        config, checkpoint = Path(folder) / 'osnet.yml', Path(folder) / 'osnet.pth'
        config.write_text(osnet_config(data).dump())
        torch.save({'model': load_osnet(data).state_dict()}, checkpoint)
        measure(FastReID(config, checkpoint, DataOptions(images=None, val_images=100), validating=True))


if __name__ == '__main__':
    main()
