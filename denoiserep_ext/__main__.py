"""Command line: ``python -m denoiserep_ext {inspect,digits,retrieval,scenes}``."""
import sys

from .cli import main

sys.exit(main())
