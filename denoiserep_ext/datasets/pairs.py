"""The same scenes twice: two folders of images, the good ones and the worse ones."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .folders import images_below

Size = tuple[int, int]  # width, height in pixels


def paired_images(clean: str | Path, worse: str | Path) -> list[tuple[Path, Path]]:
    """Pair the images of two folders by name.

    A pair has the same path below its folder; endings may differ (``a/1.png`` and ``a/1.jpg``), since
    codecs change them. Sizes may differ, too (a lower resolution), as long as both show the same frame:
    their proportions agree to a pixel. The host's pipeline then brings both to one size.

    Args:
        clean: Folder of the good images, at any depth.
        worse: Folder of the same scenes through a bad camera, a codec or at a lower resolution.

    Returns:
        ``(good, worse)`` files, sorted by name; every one of them has been read once.

    Raises:
        FileNotFoundError: if a folder is not there or holds no images.
        ValueError: naming images without a partner, a file that cannot be read, or images of other
            proportions.
    """
    clean, worse = Path(clean), Path(worse)
    good, bad = _by_name(clean), _by_name(worse)
    if clean.resolve() == worse.resolve():
        raise ValueError(f'{clean} was named twice: pairs need a folder of worse images, too.')
    _require_partners(clean, good.keys() - bad.keys(), worse)
    _require_partners(worse, bad.keys() - good.keys(), clean)
    pairs = [(good[name], bad[name]) for name in sorted(good)]
    for first, second in pairs:
        sizes = _size(first), _size(second)
        if not _same_frame(*sizes):
            raise ValueError(
                f'{first} has {_text(sizes[0])} px and {second} {_text(sizes[1])}: a pair may differ in '
                f'resolution, not in proportions; crop one of them to what the other shows.')
    return pairs


def _by_name(folder: Path) -> dict[str, Path]:
    """Images by their path below the folder without its ending."""
    found: dict[str, Path] = {}
    for path in images_below(folder):
        name = path.relative_to(folder).with_suffix('').as_posix()
        if name in found:
            raise ValueError(f'{found[name]} and {path} differ in their ending only: leave one of them, '
                             f'or pairs are not clear.')
        found[name] = path
    return found


def _require_partners(folder: Path, names: Iterable[str], other: Path) -> None:
    lonely = sorted(names)
    if lonely:
        raise ValueError(f'{len(lonely)} images of {folder} have no partner in {other}: '
                         f'{", ".join(lonely[:3])}{", ..." if len(lonely) > 3 else ""}.')


def _size(path: Path) -> Size:
    """Size of an image as it is looked at, read to its end."""
    from PIL import Image, ImageOps
    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image).size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'{path} is damaged or not an image ({error}).') from error


def _same_frame(first: Size, second: Size) -> bool:
    """Whether one is the other scaled, to a pixel."""
    (w, h), (v, g) = sorted((first, second))
    return abs(w - v * h / g) <= 1 or abs(h - g * w / v) <= 1


def _text(size: Size) -> str:
    return f'{size[0]} x {size[1]}'
