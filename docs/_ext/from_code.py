"""Directives for what the code says itself, so that the site cannot drift from it: the help of
programs, and FastReID's keys with their defaults and meanings."""
from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = 88


class ProgramHelp(Directive):
    """``{program-help} tools/calibrate.py``: what it prints with ``--help``; ``-m PACKAGE`` is a module,
    ``.sh`` a shell script."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        words = self.arguments[0].split()
        start = ['bash'] if words[0].endswith('.sh') else [sys.executable, '-W', 'ignore']
        done = subprocess.run([*start, *words, '--help'], cwd=ROOT, capture_output=True, text=True,
                              env={**os.environ, 'COLUMNS': str(COLUMNS), 'PYTHONPATH': str(ROOT)})
        if done.returncode:
            raise self.error(f'{self.arguments[0]} --help: {done.stderr.strip()[-600:]}')
        text = nodes.literal_block(done.stdout, done.stdout.strip('\n'), language='text')
        return [text]


class FastReIDKeys(Directive):
    """``.. fastreid-keys:: PairConfig ...``: keys of ``MODEL.DENOISEREP`` that come from these dataclasses,
    with the defaults that FastReID's config has and what the docstrings say of them."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        from denoiserep_ext.core.fit.learning_options import LearningOptions
        from denoiserep_ext.core.layer.config import DenoiseRepConfig
        from denoiserep_ext.core.pairs.config import PairConfig
        from denoiserep_ext.reid.config import get_cfg
        node = get_cfg().MODEL.DENOISEREP
        options = {cls.__name__: cls for cls in (DenoiseRepConfig, LearningOptions, PairConfig)}[
            self.arguments[0]]
        meanings = arguments_of(options)
        lines = ['.. list-table::', '   :header-rows: 1', '   :widths: 22 16 62', '',
                 '   * - key', '     - default', '     - meaning']
        for field in fields(options):
            key = field.name.upper()
            if key in node:
                lines += [f'   * - ``{key}``', f'     - ``{node[key]!r}``',
                          f'     - {meanings[field.name]}']
        box = nodes.container()
        self.state.nested_parse(StringList(lines, 'from_code'), 0, box)
        return box.children


def arguments_of(function: object) -> dict[str, str]:
    """What the ``Args:`` section of a docstring says of each argument, on one line each."""
    section = re.search(r'^Args:\n(.*?)(?=^\S|\Z)', inspect.getdoc(function), re.S | re.M).group(1)
    found = re.findall(r'^    (\w+): (.*?)(?=^    \w|\Z)', section, re.S | re.M)
    return {name: ' '.join(text.split()) for name, text in found}


def setup(app) -> dict:
    app.add_directive('program-help', ProgramHelp)
    app.add_directive('fastreid-keys', FastReIDKeys)
    return {'parallel_read_safe': True}
