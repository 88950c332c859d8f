"""Run by torchrun with one process: fits, and a training step under DDP, in a process group."""
import copy
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from denoiserep_ext import PairConfig, convert_
from denoiserep_ext.core.fit.running import RunningMoments
from denoiserep_ext.core.layer.layers import denoise_layers
from tests.cuda.conftest import DEVICE
from tests.cuda.test_fits import batches, from_pairs, one_pass
from tests.helpers import TinyNet


def main(out: str) -> None:
    dist.init_process_group('nccl' if DEVICE == 'cuda' else 'gloo')
    # Two processes cannot share a GPU on NCCL: a group of one goes through its collectives.
    for name, module in list(sys.modules.items()):
        if name.startswith('denoiserep_ext') and hasattr(module, 'several_processes'):
            module.several_processes = lambda: True
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    model = TinyNet(8).eval().to(DEVICE)
    states = {'one pass': one_pass(copy.deepcopy(model), tokens=None),
              'pairs': from_pairs(copy.deepcopy(model), PairConfig(ridge=1e-2))}
    torch.save({name: {k: v.cpu() for k, v in state.items()} for name, state in states.items()}, out)
    train(model)
    dist.destroy_process_group()


def train(model: torch.nn.Module) -> None:
    """A few steps with running moments, which are reduced over the group."""
    convert_(model)
    running = RunningMoments(model)
    model.train()
    wrapped = DistributedDataParallel(model, device_ids=[0] if DEVICE == 'cuda' else None)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for images in batches(model):
        wrapped(images.to(DEVICE)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    running.refresh(solve=True)
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(model))
    assert all(torch.isfinite(p).all() for p in model.parameters())


if __name__ == '__main__':
    main(*sys.argv[1:])
