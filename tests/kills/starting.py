"""Starting Python programs in process groups of their own, without waiting for imports each time.

This process has imported what they need; a program is a fork of it that runs a script as ``python``
would.
"""
from __future__ import annotations

import ctypes
import importlib
import os
import runpy
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MODULES = ('torch', 'matplotlib.pyplot', 'mmengine.runner', 'mmpretrain', 'mmdet.apis', 'mmseg.apis',
           'imagecorruptions', 'denoiserep_ext.mm', 'denoiserep_ext.reid', 'fastreid.engine')

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


def preload() -> None:
    """Import what programs will need, as far as it is installed."""
    import matplotlib
    matplotlib.use('Agg')
    warnings.simplefilter('ignore')
    for module in MODULES:
        with suppress(ImportError):
            importlib.import_module(module)


class Program:
    """Scripts (``[FILE, ARGUMENT, ...]``) or modules (``['-m', MODULE, ARGUMENT, ...]``), one after the
    other until one fails.

    Args:
        steps: What to run.
        log: What their output is added to.
    """

    def __init__(self, steps: Sequence[Sequence[str]], log: Path) -> None:
        self._status: int | None = None
        self.pid = os.fork()
        if not self.pid:
            os._exit(_in_child(steps, log))

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._ended(os.WNOHANG)

    def wait(self) -> int:
        """Exit status, once it has ended."""
        return self._ended(0)

    def _ended(self, options: int) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status


def _in_child(steps: Sequence[Sequence[str]], log: Path) -> int:
    """Run the steps, each in a process of its own."""
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)  # ended with the tests
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in enumerate((nothing, output, output)):
            os.dup2(source, target)
        sys.stdin, sys.stdout = os.fdopen(0, 'r'), os.fdopen(1, 'w', buffering=1)
        sys.stderr = os.fdopen(2, 'w', buffering=1)
        for step in steps:
            print('$', *step, flush=True)
            if len(steps) == 1:
                return _run(step)
            pid = os.fork()
            if not pid:
                os._exit(_run(step))
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if status:
                return abs(status)
        return 0
    except BaseException:
        traceback.print_exc()
        return 1


def _run(step: Sequence[str]) -> int:
    """Run one script as ``python`` would; its exit status."""
    module = step[0] == '-m'
    sys.argv = list(step[module:])
    try:
        if module:
            runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name='__main__')
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status
