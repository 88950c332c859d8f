"""What the code says itself, so that the site cannot drift from it: the help of programs, signatures,
FastReID's keys with their defaults and meanings."""
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
from sphinx.util import inspect as sphinx_inspect

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
        text = done.stdout.strip('\n')
        return [nodes.literal_block(text, text, language='text')]


class FastReIDKeys(Directive):
    """``.. fastreid-keys:: PairConfig``: keys of ``MODEL.DENOISEREP`` that come from this dataclass, the
    defaults that FastReID's config has, and what the docstring says of them."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from denoiserep_ext.core.fit.learning_options import LearningOptions
        from denoiserep_ext.core.layer.config import DenoiseRepConfig
        from denoiserep_ext.core.pairs.config import PairConfig
        from denoiserep_ext.reid.config import get_cfg
        node = get_cfg().MODEL.DENOISEREP
        known = {cls.__name__: cls for cls in (DenoiseRepConfig, LearningOptions, PairConfig)}
        options = known[self.arguments[0]]
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


def signature_of_init(app, what: str, name: str, obj: object, options, signature, returns):
    """Arguments of a class whose ``__new__`` takes anything: those of its ``__init__``."""
    if what != 'class' or not {'__new__', '__init__'} <= vars(obj).keys():
        return None
    found = sphinx_inspect.signature(obj.__init__, bound_method=True)
    found = found.replace(return_annotation=found.empty)
    return sphinx_inspect.stringify_signature(found, unqualified_typehints=True), None


def keep_together(app, doctree: nodes.document) -> None:
    """Let no line end before or after a plus-minus sign."""
    for text in list(doctree.findall(nodes.Text)):
        if ' ± ' in text:
            text.parent.replace(text, nodes.Text(text.replace(' ± ', '\u00a0±\u00a0')))


def setup(app) -> dict:
    app.add_directive('program-help', ProgramHelp)
    app.add_directive('fastreid-keys', FastReIDKeys)
    app.connect('autodoc-process-signature', signature_of_init)
    app.connect('doctree-read', keep_together)
    return {'parallel_read_safe': True}
