"""Pages of the documentation, and the code in them."""
from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / 'README.md', ROOT / 'CONTRIBUTING.md',
         *sorted(path for path in (ROOT / 'docs').rglob('*.md') if '_build' not in path.parts))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    """Code blocks of a page in a language, in order."""
    return re.findall(rf'^```{language}\n(.*?)^```', path.read_text(), re.S | re.M)


def commands(path: Path) -> list[list[str]]:
    """Words of every command in a page's shell blocks."""
    lines = '\n'.join(blocks(path, 'bash')).replace('\\\n', ' ').splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]
