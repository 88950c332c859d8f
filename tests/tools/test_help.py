"""Every tool's --help: each option with its default, an example at the end."""
import argparse
import importlib
import runpy
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from denoiserep_ext.command_line import HelpFormatter, has_default, tool_parser

ROOT = Path(__file__).parents[2]
PROGRAMS = [*sorted((ROOT / 'tools').glob('*.py')), 'benchmarks', 'denoiserep_ext']
HOSTS = {'rank_list': 'fastreid', 'convert_transreid': 'fastreid', 'train_net': 'fastreid',
         'denoiserep_ext': 'torch', 'fuse': 'torch'}


class Parsed(BaseException):
    """Carries a program's parser out of it."""


@pytest.fixture
def parser_of(monkeypatch):
    def parse(self, *args, **kwargs):
        raise Parsed(self)

    def find(program):
        name = program if isinstance(program, str) else program.stem
        pytest.importorskip(HOSTS.get(name, 'mmengine'))
        with monkeypatch.context() as patch:
            patch.setattr(argparse.ArgumentParser, 'parse_args', parse)
            patch.setattr(sys, 'argv', [name])
            try:
                if isinstance(program, str):
                    importlib.import_module(f'{program}.__main__')
                    sys.modules[f'{program}.__main__'].main()
                else:
                    runpy.run_path(str(program), run_name='__main__')
            except Parsed as parsed:
                return parsed.args[0]
            finally:
                sys.modules.pop(f'{program}.__main__', None)
        raise AssertionError(f'{name} parsed nothing')

    return find


def commands_of(parser):
    """The parser, or those of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return list(action.choices.values())
    return [parser]


@pytest.mark.parametrize('program', PROGRAMS, ids=lambda p: p if isinstance(p, str) else p.stem)
def test_every_option_tells_its_default_and_an_example_stands_at_the_end(parser_of, program):
    for parser in commands_of(parser_of(program)):
        text = ' '.join(parser.format_help().split())
        assert parser.description and parser.formatter_class is HelpFormatter
        assert 'example, ' in (parser.epilog or '') or 'python -m benchmarks' in parser.description
        for action in parser._actions:
            assert action.help, f'{parser.prog}: {action.dest} has no help'
            if has_default(action):
                told = parser._get_formatter()._expand_help(action)
                assert '(default' in told, f'{parser.prog}: {action.dest}: {told}'
                assert ' '.join(told.split()[:3]) in text


def test_defaults_are_told_as_they_are():
    parser = tool_parser('What it does.', 'for something:\n  python tool.py --many 3')
    parser.add_argument('--many', nargs='+', type=int, default=[1, 2], help='several')
    parser.add_argument('--zero', type=int, default=0, help='100 %% of it')
    parser.add_argument('--none', help='perhaps')
    parser.add_argument('--words', default=7, help="a number (default: the config's)")
    parser.add_argument('--switch', action='store_true', help='on')
    parser.add_argument('--needed', required=True, help='this')
    text = parser.format_help()
    for words in ('several (default: 1 2)', '100 % of it (default: 0)', 'perhaps (default: none)',
                  "a number (default: the config's)\n", 'on\n', 'this\n'):
        assert words in text
    assert text.endswith('example, for something:\n  python tool.py --many 3\n')


def test_the_scenes_defaults_are_those_of_the_drawing():
    scenes = pytest.importorskip('denoiserep_ext.datasets.scenes')
    from denoiserep_ext.cli import SCENES
    assert {name: default for name, (default, _) in SCENES.items()} == asdict(scenes.SceneConfig())
