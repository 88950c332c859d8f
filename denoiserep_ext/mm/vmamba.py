"""VMamba as a backbone of MMPretrain, MMDetection and MMSegmentation."""
from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule

from ..models.vmamba import VMamba as Backbone
from ..registry import MODELS

_OPTIONS = 'checkpoint', 'unsafe'  # of init_cfg, beside its type

Initialiser = dict[str, Any]


@MODELS.register_module()
class VMamba(Backbone, BaseModule):
    """:class:`denoiserep_ext.VMamba` for configs, ``type='denoiserep_ext.VMamba'``.

    Args:
        *args: Arguments of :class:`denoiserep_ext.VMamba`.
        init_cfg: ``dict(type='Pretrained', checkpoint=..., unsafe=False)`` takes an official
            checkpoint, a file or URL, with every tensor accounted for and under any prefix;
            ``unsafe=True`` allows one that can run code, only for files you trust. Other initialisers,
            alone or in a list with it, are mmengine's; it comes last.
        **kwargs: See ``args``.

    Raises:
        ValueError: naming an argument that cannot be.
    """

    def __init__(self, *args: Any, init_cfg: Initialiser | list[Initialiser] | None = None,
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.init_cfg = init_cfg
        for pretrained in self._initialisers(True):
            _check(pretrained)

    def init_weights(self) -> None:
        """Apply what ``init_cfg`` says, the pretrained file last.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it does not fit the backbone, naming the tensors.
        """
        first, init_cfg = not self._is_init, self.init_cfg
        self.init_cfg = self._initialisers(False)
        try:
            super().init_weights()
        finally:
            self.init_cfg = init_cfg
        if first:
            for pretrained in self._initialisers(True):
                self.load_pretrained(pretrained['checkpoint'], pretrained.get('unsafe', False))

    def _initialisers(self, pretrained: bool) -> list[Initialiser]:
        listed = self.init_cfg or []
        return [item for item in ([listed] if isinstance(listed, dict) else listed)
                if (item.get('type') == 'Pretrained') == pretrained]


def _check(pretrained: Initialiser) -> None:
    unknown = sorted(pretrained.keys() - {'type', *_OPTIONS})
    if unknown:
        raise ValueError(f'init_cfg: VMamba does not take {", ".join(unknown)}. Its files are read on '
                         f'the CPU and under any prefix; there are {" and ".join(_OPTIONS)}.')
    if not isinstance(pretrained.get('checkpoint'), str):
        raise ValueError(f'init_cfg: checkpoint={pretrained.get("checkpoint")!r} must be a file or URL.')
