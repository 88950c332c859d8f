"""The site builds without a warning, its links within hold, and its commands name options that exist."""
from __future__ import annotations

import html
import re
import subprocess
import sys

import pytest
import yaml

from tests.docs.pages import PAGES, ROOT, commands, name_of

pytest.importorskip('sphinx', reason='pip install .[docs]')
pytest.importorskip('mmengine')
pytest.importorskip('fastreid')


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The built site's folder, and what its build said."""
    out = tmp_path_factory.mktemp('site') / 'html'
    done = subprocess.run([sys.executable, '-m', 'sphinx', '-b', 'html', '-W', '--keep-going', '-q',
                           str(ROOT / 'docs'), str(out)], capture_output=True, text=True)
    return out, done


@pytest.mark.slow
@pytest.mark.matrix
def test_builds_without_a_warning(site):
    out, done = site
    assert done.returncode == 0, done.stderr
    for path in PAGES:
        if path.is_relative_to(ROOT / 'docs') and 'pictures' not in path.parts:
            assert (out / path.relative_to(ROOT / 'docs').with_suffix('.html')).exists()


@pytest.mark.slow
@pytest.mark.matrix
def test_what_is_read_from_the_code_is_there(site):
    out, _ = site
    keys = text_of(out / 'reference/fastreid.html')
    assert {'LOSS_WEIGHT', 'CLEAN_WEIGHT', 'STEP_STRIDE'} <= set(keys.split())
    assert 'joint' in text_of(out / 'reference/hook.html')
    assert 'denoise_pairs_' in text_of(out / 'reference/api.html').split()


@pytest.mark.slow
@pytest.mark.matrix
def test_commands_name_options_that_exist(site):
    known = helps(site[0] / 'reference/tools.html')
    seen = 0
    for path in PAGES:
        for program, words in filter(None, map(program_of, commands(path))):
            assert program in known, f'{name_of(path)}: {program} is not in reference/tools.md'
            for option in (word.partition('=')[0] for word in words if word.startswith('--')):
                assert option in known[program], f'{name_of(path)}: {program} {option}'
                seen += 1
    assert seen > 30


def test_commands_name_files_that_exist():
    named = {word for path in PAGES for words in commands(path) for word in words
             if re.match(r'(configs|tools|demo)/[\w./-]+$', word)}
    assert len(named) > 15
    assert [word for word in sorted(named) if not (ROOT / word).exists()] == []


def test_links_of_readme_and_contributing_lead_somewhere():
    for name in ('README.md', 'CONTRIBUTING.md', 'SECURITY.md'):
        for target in re.findall(r'\]\(([^)#]+)', (ROOT / name).read_text()):
            assert '://' in target or (ROOT / target).exists(), f'{name}: {target}'


def test_readme_stays_short():
    lines = (ROOT / 'README.md').read_text().splitlines()
    assert len(lines) <= 150
    assert max(len(line) for line in lines if not line.startswith(('|', '!['))) <= 100


def test_workflows_and_templates_are_valid_yaml():
    files = [*(ROOT / '.github').rglob('*.yml'), ROOT / '.pre-commit-config.yaml', ROOT / 'CITATION.cff']
    loaded = {path.name: yaml.safe_load(path.read_text()) for path in files}
    assert {'lint.yml', 'core.yml', 'docs.yml'} <= loaded.keys()
    for name in ('lint.yml', 'core.yml', 'docs.yml'):
        assert all(job['steps'] for job in loaded[name]['jobs'].values())


def test_version_to_cite_is_the_package_s():
    from denoiserep_ext import __version__
    assert yaml.safe_load((ROOT / 'CITATION.cff').read_text())['version'] == __version__
    assert f'version = {{{__version__}}}' in (ROOT / 'README.md').read_text()


def text_of(page) -> str:
    """A page's text without markup."""
    return html.unescape(re.sub(r'<[^>]+>', ' ', page.read_text()))


def helps(page) -> dict[str, set[str]]:
    """Options of every program, from the page that captured their help."""
    found = {}
    for section in page.read_text().split('<section id=')[1:]:
        title = re.search(r'<h3>(.*?)<a', section)
        if title is not None:
            words = html.unescape(re.sub(r'<[^>]+>', '', section))
            name = html.unescape(re.sub(r'<[^>]+>', '', title[1]))
            found[name] = set(re.findall(r'(?<![\w-])--[a-z][\w-]*', words))
    return found


def program_of(words: list[str]) -> tuple[str, list[str]] | None:
    """The tool or module that a command runs, as its section is called, and what it is given; None for
    programs of others and for run_tests.sh, which hands its options on to pytest."""
    for place, word in enumerate(words):
        tool = re.fullmatch(r'tools/(\w+\.(?:py|sh))', word)
        if tool is not None:
            return None if tool[1] == 'run_tests.sh' else (tool[1], words[place + 1:])
        if words[place - 1] == '-m' and word == 'denoiserep_ext.reid.train_net':
            return 'train_net.py', words[place + 1:]
        if words[place - 1] == '-m' and word == 'benchmarks':
            return 'python -m benchmarks', words[place + 1:]
        if words[place - 1] == '-m' and word == 'denoiserep_ext':
            return f'python -m denoiserep_ext {words[place + 1]}', words[place + 2:]
    return None
