"""Denoising a finished re-ID model with a folder of unlabelled images, without a training loop."""
from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from fastreid.config import CfgNode
from fastreid.data.build import fast_batch_collator
from fastreid.data.common import CommDataset
from fastreid.data.transforms import build_transforms
from fastreid.utils import comm
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..core.files.writing import write_whole
from ..core.fit.one_pass import fit_one_pass_
from ..core.fit.sizes import describe
from ..core.layer.fusion import fused_state_dict, step_sizes
from ..datasets.folders import images_below
from .config import settings_of
from .models import load_model
from .pairs import denoise_folder_, pair_loader

logger = logging.getLogger('fastreid.denoiserep')


def out_file(cfg: CfgNode) -> Path:
    """Where the denoised weights go."""
    return Path(cfg.OUTPUT_DIR) / 'model_denoised.pth'


def check_one_pass(cfg: CfgNode, folder: Path, processes: int = 1) -> None:
    """See that everything is in place before anything is written.

    Args:
        cfg: FastReID config with our keys.
        folder: Folder of images.
        processes: How many will share them.

    Raises:
        ValueError: without ``MODEL.WEIGHTS``, or for a setting that cannot be.
        FileNotFoundError: without images.
        FileExistsError: if the denoised weights are there already.
        ImportError: without the library of corruptions, where it is needed.
    """
    images_below(folder)
    shown = settings_of(cfg).shown
    if not cfg.MODEL.WEIGHTS:
        raise ValueError('--one-pass denoises a trained model: give its checkpoint as MODEL.WEIGHTS.')
    if out_file(cfg).exists():
        raise FileExistsError(f'{out_file(cfg)} exists: remove it or choose another OUTPUT_DIR.')
    if shown is not None:
        pair_loader(cfg, shown, folder).check(shown.config.held_out, processes)


def fit_folder(cfg: CfgNode, folder: Path) -> Path | None:
    """Fit every predictor on the images below a folder and write the fused model. Noise that is shown
    is fitted layer by layer instead, see :func:`~denoiserep_ext.reid.pairs.denoise_folder_`.

    Images are read as in testing; several processes share them.

    Args:
        cfg: FastReID config with our keys, ``MODEL.WEIGHTS`` included. A meta-architecture other than
            ``DenoiseRep`` is taken for the one to convert.
        folder: Folder of images; labels, if the names have any, are ignored.

    Returns:
        The file written: weights under stock keys, for stock FastReID. None if a judge found no gain.

    Raises:
        ValueError: if the checkpoint is of another model.
    """
    cfg = cfg.clone()
    cfg.defrost()
    if cfg.MODEL.META_ARCHITECTURE != 'DenoiseRep':
        cfg.MODEL.DENOISEREP.META_ARCH = cfg.MODEL.META_ARCHITECTURE
        cfg.MODEL.META_ARCHITECTURE = 'DenoiseRep'
    settings = settings_of(cfg)
    model = load_model(cfg, cfg.MODEL.WEIGHTS)
    if settings.shown is not None:
        gains = denoise_folder_(model, cfg, settings, folder)
        return _write(model.state_dict(), out_file(cfg)) if gains else None
    paths = images_below(folder)
    loader, probe = _batches(cfg, paths)
    losses = fit_one_pass_(model, loader, forward=_forward, probe=probe)
    sizes = step_sizes(model)
    lines = [f"{name:<60} loss {losses[name]:.4f}  |W' - W| / |W| {sizes[name]:.2e}" for name in losses]
    logger.info('Fitted on %d images of %s, without labels.\n%s', len(paths), folder,
                '\n'.join([*lines, describe(sizes)]))
    return _write(fused_state_dict(model), out_file(cfg))


def _write(state: Mapping[str, Tensor], out: Path) -> Path:
    if comm.is_main_process():
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole({'model': state}, str(out))
        logger.info('Wrote %s: plain weights, to be tested with the stock config.', out)
    comm.synchronize()
    return out


def _batches(cfg: CfgNode, paths: list[Path]) -> tuple[Iterable[dict], dict | None]:
    """This process's share of the batches, and the first batch of all where that is another's."""
    items, size = [(str(path), 0, 0) for path in paths], cfg.TEST.IMS_PER_BATCH
    dataset = CommDataset(items, build_transforms(cfg, is_train=False), relabel=False)
    batches = [range(i, min(i + size, len(items))) for i in range(0, len(items), size)]
    rank, own = comm.get_rank(), batches[comm.get_rank()::comm.get_world_size()]
    loader = DataLoader(dataset, batch_sampler=own, num_workers=cfg.DATALOADER.NUM_WORKERS,
                        collate_fn=fast_batch_collator)
    probe = fast_batch_collator([dataset[i] for i in batches[0]]) if rank else None
    return tqdm(loader, desc='one pass', unit='batch', disable=rank > 0), probe


def _forward(model: torch.nn.Module, batch: dict) -> None:
    # FastReID normalises in place.
    model({'images': batch['images'].to(next(model.parameters()).device, copy=True)})
