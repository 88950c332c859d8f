"""Noise that is shown, taken out of a finished re-ID model: a folder of images and worse versions."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fastreid.config import CfgNode
from fastreid.data.build import fast_batch_collator
from fastreid.data.common import CommDataset
from fastreid.data.transforms import build_transforms
from fastreid.utils import comm
from torch import nn

from ..core.layer.selection import by_part
from ..corruptions.names import Corruption
from ..datasets.folders import images_below
from ..pairs.loading import PairLoader, draw
from ..pairs.options import ShownNoise
from ..pairs.reporting import described, save_report
from ..pairs.walking import walk_
from .config import Settings
from .corrupt import corrupted_transforms
from .scoring import embed_batch

logger = logging.getLogger('fastreid.denoiserep')


class FolderImages:
    """Images below a folder, read as in testing; see :class:`~denoiserep_ext.pairs.loading.Images`.

    Args:
        cfg: FastReID config.
        folder: Folder of images.
        images: How many are drawn; None for all.
        seed: Seed of the draw.
    """

    def __init__(self, cfg: CfgNode, folder: Path, images: int | None, seed: int) -> None:
        self.cfg = cfg
        self.batch_size, self.workers = cfg.TEST.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS
        self.collate = fast_batch_collator
        self._items = [(str(path), 0, 0) for path in images_below(folder)]
        self.images = CommDataset(self._items, build_transforms(cfg, is_train=False), relabel=False)
        self.order = draw(len(self._items), images, seed)

    def worse_images(self, corruptions: Sequence[Corruption], seed: int) -> list[CommDataset]:
        return [CommDataset(self._items, corrupted_transforms(self.cfg, corruption, seed), relabel=False)
                for corruption in corruptions]

    def file(self, dataset: CommDataset, index: int) -> str:
        return dataset.img_items[index][0]

    def size(self, sample: dict) -> Sequence[int]:
        return sample['images'].shape[-2:]

    def ready(self, batch: dict) -> dict:
        return {'images': batch['images']}


def pair_loader(cfg: CfgNode, shown: ShownNoise, folder: Path) -> PairLoader:
    """Pairs of the images below a folder."""
    seed = shown.config.seed
    return PairLoader(FolderImages(cfg, folder, shown.images, seed), shown.corruptions, seed)


def denoise_folder_(model: nn.Module, cfg: CfgNode, settings: Settings, folder: Path) -> bool:
    """Denoise a trained model by the images below a folder and worse versions of them, in place, and
    write the report to ``OUTPUT_DIR``; several processes share the images.

    Args:
        model: The plain model, on its device.
        cfg: FastReID config with our keys.
        settings: Its ``MODEL.DENOISEREP``, with noise that is shown.
        folder: Folder of images; labels, if the names have any, are ignored.

    Returns:
        Whether anything was gained; without, the model is as it was.

    Raises:
        ValueError: if an image cannot be read or made worse, or there are too few.
    """
    shown = settings.shown
    loader = pair_loader(cfg, shown, folder)
    loader.check(shown.config.held_out)
    config = replace(shown.config, layers=by_part(settings.target, shown.config.layers),
                     judge='cosine')
    report = walk_(model, loader, config, embed_batch)
    logger.info('Images of %s, without labels:\n%s', folder, described(report, shown.worse))
    if comm.is_main_process():
        out = Path(cfg.OUTPUT_DIR)
        files = save_report(report, config, shown.worse, out, out.name)
        logger.info('Figures and picture: %s', ', '.join(map(str, files)))
    if not report.accepted:
        logger.warning('No gain, no model written: the weights are best left as they are.')
    return report.accepted
