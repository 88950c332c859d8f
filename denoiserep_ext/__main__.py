"""Command line: ``python -m denoiserep_ext {inspect,digits}``."""
import sys

from .cli import main

sys.exit(main())
