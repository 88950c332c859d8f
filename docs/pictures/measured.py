"""Pictures of what the tools have measured, drawn by the tools' own code."""
from __future__ import annotations

from pathlib import Path
