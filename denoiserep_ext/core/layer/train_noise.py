"""Fresh noise of a denoising step, the same again when activation checkpointing repeats it."""
from __future__ import annotations

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .sampling import seeded

RECENT = 64  # calls remembered until their backward
_MARKS = 16  # elements of its input by which a call is recognised
_TOLERANCE = 0.05  # of the input's size: what kernels that are not deterministic may change


class Call(NamedTuple):
    """One call of a layer: its number, and what its input looked like."""

    number: int
    shape: torch.Size
    marks: Tensor


class TrainNoise(nn.Module):
    """Draws ``z`` of the step ``x_hat = ... + c2 * z`` for each training-mode call of a layer.

    Activation checkpointing runs a forward once more inside the backward pass, where the noise must
    be that of the call it repeats. That call is recognised by its input, whatever the order in which
    regions are repeated. The number of calls is saved with the predictor, so that a resumed run draws
    what an uninterrupted one would.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self._open: deque[Call] = deque(maxlen=RECENT)
        self._repeated = False

    def forward(self, layer: nn.Module, like: Tensor) -> Tensor:
        """``z`` for features ``like`` (same shape, device and type).

        Raises:
            RuntimeError: if it is unclear which call a forward inside the backward pass repeats.
        """
        with torch.no_grad():
            number = self._repeats(layer, like) if in_backward() else self._new(like)
        return torch.randn(like.shape, dtype=like.dtype, device=like.device,
                           generator=seeded(layer, 'z', number, like.device))

    def _new(self, x: Tensor) -> int:
        if self._repeated:  # a backward has been through
            self._open.clear()
            self._repeated = False
        self.calls += 1
        self._open.append(Call(self.calls, x.shape, _marks(x)))
        return self.calls

    def _repeats(self, layer: nn.Module, x: Tensor) -> int:
        self._repeated = True
        calls = [call for call in self._open if call.shape == x.shape]
        if calls:
            marks = _marks(x)
            gaps = [(call.marks - marks).abs().max().nan_to_num().item() for call in calls]
            nearest = min(gaps)
            # The first mark is the size of the input; where that is not finite nothing matters.
            if gaps.count(nearest) == 1 and not nearest > _TOLERANCE * marks[0]:
                return calls[gaps.index(nearest)].number
        raise RuntimeError(
            f'{layer.denoise_name}: activation checkpointing repeats a forward with train_noise, and '
            f'it is unclear which: several calls had the same input, or over {RECENT} lie before this '
            f'backward. Run backward after each forward, or turn train_noise or checkpointing off.')

    def _save_to_state_dict(self, destination, prefix: str, keep_vars: bool) -> None:
        # Not a buffer: those are averaged and broadcast by others, and reading one waits for the GPU.
        destination[f'{prefix}calls'] = torch.tensor(self.calls)

    def _load_from_state_dict(self, state_dict, prefix: str, *args) -> None:
        if f'{prefix}calls' in state_dict:
            self.calls = int(state_dict[f'{prefix}calls'])
            self._open.clear()


def in_backward() -> bool:
    """Whether this forward is activation checkpointing's second one, inside the backward pass."""
    return torch._C._current_graph_task_id() != -1


def _marks(x: Tensor) -> Tensor:
    """The size of ``x`` (root mean square) and a few of its elements."""
    wide = torch.promote_types(x.dtype, torch.float32)
    size = torch.linalg.vector_norm(x, dtype=wide) / max(1, x.numel())**0.5
    places = torch.arange(0, x.numel(), max(1, x.numel() // _MARKS), device=x.device)
    return torch.cat([size.unsqueeze(0), x.take(places).to(wide)])
