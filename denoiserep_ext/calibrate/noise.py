"""What one kind of noise differs in from another: what it collects, and what it puts into a model."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from .host import Host


class Setting(Protocol):
    """One way to denoise a model: a point of a sweep.

    Attributes:
        noise: The noise.
        kind: The noise, and whatever else tells one curve of a sweep from another.
        level: The point on that curve: a strength, or words.
        caution: The larger, the less it changes; of points that score the same the most cautious wins.
    """

    noise: str
    kind: str
    level: float | str
    caution: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Its settings as plain data."""


class Outcome(Protocol):
    """What was done to a model; ``str`` tells it.

    Attributes:
        gains: Whether it is worth a file: False if the noise itself says that nothing is gained.
        cost: What inference costs more, in words, or None.
    """

    gains: bool
    cost: str | None

    def save_report(self, out: Path) -> list[Path]:
        """Write what goes beside the checkpoint ``out``; the files."""

    def as_dict(self) -> dict[str, Any]:
        """Its figures as plain data."""


class Collected(ABC):
    """What has been collected from images, ready to denoise a host's model by.

    Attributes:
        images: How many images it was.
    """

    images: int

    @abstractmethod
    def denoise_(self, setting: Setting) -> Outcome:
        """Denoise the host's model as it was loaded, in place.

        Raises:
            ValueError: if it cannot be; the model is as it was loaded then.
            FloatingPointError: naming a layer whose features or weights are not finite.
        """


class Source(ABC):
    """Where noise comes from, as the user asks for it.

    Attributes:
        partial: Whether this machine collects a share for others and denoises nothing.
    """

    partial: bool = False

    @abstractmethod
    def check(self, host: Host, setting: Setting, sweeping: bool) -> None:
        """Refuse what cannot be before any image is read.

        Args:
            host: The model and its images.
            setting: What is asked for.
            sweeping: Whether a sweep will choose another one.

        Raises:
            ValueError: saying what does not fit.
        """

    @abstractmethod
    def collect(self, host: Host, noises: Sequence[str]) -> Collected:
        """Look at the images. In a process group the processes share them and all get the whole.

        Args:
            host: The model and its images.
            noises: Kinds of noise that will be taken out.
        """

    def files(self, out: Path) -> list[Path]:
        """What :meth:`Outcome.save_report` may write beside ``out``."""
        return []
