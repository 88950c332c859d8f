"""What the command lines have in common: help that tells every default, and an example at its end."""
from __future__ import annotations

import argparse


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Adds its default to the help of every option that takes a value, unless it is told in words."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, value = action.help, action.default
        if not has_default(action) or '(default' in text:
            return text
        words = ' '.join(map(str, value)) if isinstance(value, (list, tuple)) else value
        return f"{text} (default: {'none' if words in (None, '') else words})"


def has_default(action: argparse.Action) -> bool:
    """Whether there is a default to tell: positional and required arguments have none, and a switch is
    off unless it is given."""
    return bool(action.option_strings) and not action.required and action.nargs != 0


def tool_parser(description: str, example: str, **options) -> argparse.ArgumentParser:
    """A parser with our help.

    Args:
        description: The tool's docstring.
        example: A call of it with its purpose: ``'what for:\\n  command'``.
        **options: Of :class:`argparse.ArgumentParser`.
    """
    return argparse.ArgumentParser(description=description, epilog=f'example, {example}',
                                   formatter_class=HelpFormatter, **options)
