"""VMamba as a backbone of MMPretrain, MMDetection and MMSegmentation."""
from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule

from ..models.vmamba import VMamba as Backbone
from ..registry import MODELS


@MODELS.register_module()
class VMamba(Backbone, BaseModule):
    """:class:`denoiserep_ext.VMamba` for configs, ``type='denoiserep_ext.VMamba'``.

    Args:
        *args: Arguments of :class:`denoiserep_ext.VMamba`.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` takes an official checkpoint, a file or
            URL, with every tensor accounted for; other initialisers are mmengine's.
        **kwargs: See ``args``.

    Raises:
        ValueError: naming an argument that cannot be.
    """

    def __init__(self, *args: Any, init_cfg: dict[str, Any] | list | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.init_cfg = init_cfg

    def init_weights(self) -> None:
        """Load the pretrained file, or apply what ``init_cfg`` says.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it does not fit the backbone, naming the tensors.
        """
        if not isinstance(self.init_cfg, dict) or self.init_cfg.get('type') != 'Pretrained':
            super().init_weights()
            return
        if not self._is_init:
            self.load_pretrained(self.init_cfg['checkpoint'])
            self._is_init = True
