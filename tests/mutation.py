"""Small faults put into the code one at a time, to see whether a test notices: the score of the tests.

Run it as
    python -m tests.mutation [FILE_OR_FOLDER ...] [--sample 100] [--seed 0] [--limit SECONDS]
It works on a copy, with the tests of tests/core (those that need real data are left out). All mutants
take hours; a sample with a fixed seed can be repeated. Some survivors compute the same as the original.
"""
from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE, TESTS = Path('denoiserep_ext/core'), Path('tests/core')

SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.Mod: ast.Mult, ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}
# Without the call there is still a tensor of the same shape.
DROPPED = {'abs', 'clamp', 'clamp_min', 'clone', 'contiguous', 'detach', 'double', 'eval', 'maximum',
           'nan_to_num', 'round', 'sqrt', 'square'}


@dataclass(frozen=True)
class Mutant:
    """A file with one fault.

    Attributes:
        path: The file, below the root.
        line: Where.
        change: What, in words.
        source: The whole file.
    """

    path: Path
    line: int
    change: str
    source: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}  {self.change}'


def replacements(node: ast.AST) -> Iterator[ast.AST]:
    """Faulty versions of a node."""
    if isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPS:
        yield _with(node, op=SWAPS[type(node.op)]())
    elif isinstance(node, ast.AugAssign) and type(node.op) in SWAPS:
        yield _with(node, op=SWAPS[type(node.op)]())
        yield ast.Pass()
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS:
        yield _with(node, ops=[SWAPS[type(node.ops[0])]()])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, (ast.If, ast.IfExp)):
        for value in (True, False):
            yield _with(node, test=ast.Constant(value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Call) and getattr(node.func, 'attr', None) in DROPPED:
        yield node.func.value
    elif isinstance(node, ast.Raise) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or (
            isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name)):
        yield ast.Pass()


def mutants(path: Path, source: str) -> list[Mutant]:
    """Every mutant of a file."""
    found: list[Mutant] = []
    while True:
        visitor = _Visitor(len(found))
        tree = visitor.visit(ast.parse(source))
        if visitor.change is None:
            return found
        code = ast.unparse(ast.fix_missing_locations(tree))
        found.append(Mutant(path, visitor.line, visitor.change, code))


class _Visitor(ast.NodeTransformer):
    """Puts one fault in, the given one in reading order. Annotations and decorators stay."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.seen, self.line, self.change = wanted, 0, 0, None

    def visit(self, node: ast.AST) -> ast.AST:
        for new in replacements(node):
            if self.seen == self.wanted:
                self.line, self.change = node.lineno, f'{_brief(node)}  ->  {_brief(new)}'
                self.seen += 1
                return new
            self.seen += 1
        if isinstance(node, ast.arg):
            return node
        if isinstance(node, ast.AnnAssign):
            return _with(node, value=node.value and self.visit(node.value))
        if isinstance(node, ast.FunctionDef):
            bare = self.generic_visit(_with(node, returns=None, decorator_list=[]))
            return _with(bare, returns=node.returns, decorator_list=node.decorator_list)
        return self.generic_visit(node)


def tests_of(path: Path, root: Path) -> list[str]:
    """Test files that may notice a fault: the file's own first, its room's, then the rest."""
    room = TESTS / path.parent.relative_to(CORE)
    files = [file.relative_to(root) for file in sorted((root / TESTS).rglob('test_*.py'))]
    return [str(file) for file in sorted(files, key=lambda file: (
        file.name != f'test_{path.name}', file.parent != room, file))]


def run(root: Path, tests: list[str], limit: float | None = None) -> str:
    """``'passed'``, ``'failed'``, or ``'timed out'`` after ``limit`` seconds."""
    env = {**os.environ, 'PYTHONPATH': str(root), 'PYTHONDONTWRITEBYTECODE': '1', 'OMP_NUM_THREADS': '1'}
    env.pop('DENOISEREP_TEST_DATA', None)
    process = subprocess.Popen(
        [sys.executable, '-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider', *tests],
        cwd=root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        return 'passed' if process.wait(limit) == 0 else 'failed'
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that tests have started
        process.wait()
        return 'timed out'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('paths', nargs='*', type=Path, default=[CORE],
                        help='files or folders below core')
    parser.add_argument('--sample', type=int, default=100, help='mutants to run; 0 for all')
    parser.add_argument('--seed', type=int, default=0, help='of the sample')
    parser.add_argument('--limit', type=float,
                        help='seconds a mutant may take; by default three times what the tests take')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / 'copy'
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns('.*', '__pycache__', 'work_dirs'))
        files = sorted({file.resolve().relative_to(ROOT) for path in args.paths
                        for file in (path.rglob('*.py') if path.is_dir() else [path])})
        every = [mutant for file in files for mutant in mutants(file, (ROOT / file).read_text())]
        chosen = random.Random(args.seed).sample(every, min(args.sample or len(every), len(every)))
        start = time.perf_counter()
        if run(root, tests_of(CORE / 'none.py', root)) != 'passed':
            sys.exit('The tests fail without any fault.')
        limit = args.limit or 3 * (time.perf_counter() - start)
        outcomes: Counter[str] = Counter()
        for mutant in chosen:
            original = (root / mutant.path).read_text()
            (root / mutant.path).write_text(mutant.source)
            outcome = run(root, tests_of(mutant.path, root), limit)
            outcomes[outcome] += 1
            if outcome != 'failed':
                print(f'{"survived" if outcome == "passed" else outcome}: {mutant}', flush=True)
            (root / mutant.path).write_text(original)
    killed = len(chosen) - outcomes['passed']
    print(f'{killed} of {len(chosen)} mutants were killed ({killed / max(1, len(chosen)):.0%}; '
          f'{outcomes["timed out"]} by the time limit), drawn from {len(every)} with seed {args.seed}.')


def _with(node: ast.AST, **fields) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _brief(node: ast.AST) -> str:
    text = ast.unparse(node).splitlines()[0]
    return text if len(text) <= 90 else f'{text[:87]}...'


if __name__ == '__main__':
    main()
