"""Files that are there whole or not at all: killed writers, full disks, folders that take nothing."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from denoiserep_ext.core.files.writing import (
    WriteError,
    clear_partial,
    parked,
    require_writable,
    write_json,
    write_text,
    write_whole,
)
from tests.disks import read_only, small_disk

WRITER = '''
import sys, time
from denoiserep_ext.core.files.writing import parked
with parked(sys.argv[1]) as partial:
    partial.write_text('half')
    print(partial, flush=True)
    time.sleep(600)
'''


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing ``a.json``, and its partial file."""
    process = subprocess.Popen([sys.executable, '-c', WRITER, str(tmp_path / 'a.json')],
                               stdout=subprocess.PIPE, text=True, start_new_session=True)
    yield process, tmp_path / process.stdout.readline().strip()
    process.kill()
    process.wait()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_leaves_is_cleared_by_the_next(tmp_path, writer):
    process, partial = writer
    write_text('before', tmp_path / 'b.json')
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert names(tmp_path) == sorted([partial.name, 'b.json'])
    write_text('other', tmp_path / 'b.json')
    assert partial.exists()  # of another file
    write_text('whole', tmp_path / 'a.json')
    assert names(tmp_path) == ['a.json', 'b.json']
    assert (tmp_path / 'a.json').read_text() == 'whole'


def test_a_living_writer_is_left_alone(tmp_path, writer):
    _, partial = writer
    write_text('ours', tmp_path / 'a.json')
    clear_partial(tmp_path)
    assert names(tmp_path) == sorted(['a.json', partial.name])
    assert partial.read_text() == 'half' and (tmp_path / 'a.json').read_text() == 'ours'


def test_files_that_only_look_alike_are_not_cleared(tmp_path):
    for name in ('a.json.partial', 'a.jsonx.0123abcd.partial', 'my.partial'):
        (tmp_path / name).touch()
    clear_partial(tmp_path, 'a.json')
    clear_partial(tmp_path)
    assert names(tmp_path) == ['a.json.partial', 'my.partial']


def test_an_error_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    write_json([1], tmp_path / 'a.json')
    with pytest.raises(KeyError, match='own'), parked(tmp_path / 'a.json') as partial:
        partial.write_text('half')
        raise KeyError('own')
    assert names(tmp_path) == ['a.json'] and (tmp_path / 'a.json').read_text() == '[\n  1\n]'


def test_a_file_is_as_readable_as_any_other(tmp_path):
    write_text('', tmp_path / 'ours')
    (tmp_path / 'other').write_text('')
    assert (tmp_path / 'ours').stat().st_mode == (tmp_path / 'other').stat().st_mode


@pytest.fixture
def disk(tmp_path):
    """A file system of 1 MB."""
    with small_disk(tmp_path / 'disk', 1 << 20) as folder:
        yield folder


def test_a_full_disk_is_named_and_earlier_files_stay(disk):
    path = disk / 'a.pth'
    write_whole({'w': torch.ones(1000)}, path)
    before = path.read_bytes()
    for write in (lambda: write_whole({'w': torch.ones(1_000_000)}, path),
                  lambda: write_text('x' * 2_000_000, path)):
        with pytest.raises(WriteError, match=f'{path} could not be written: the disk is full.*is as it '
                                             f'was'):
            write()
        assert path.read_bytes() == before and names(disk) == ['a.pth']
    with pytest.raises(OSError, match='No space'), (disk / 'filler').open('wb') as stream:
        while True:
            stream.write(bytes(4096))
            stream.flush()
    with pytest.raises(WriteError, match='the disk is full'):
        require_writable(disk / 'new' / 'b.pth')


def test_the_largest_size_of_a_file_is_a_clear_error_too(tmp_path):
    code = ('import resource, signal, sys, torch\n'
            'from denoiserep_ext.core.files.writing import write_whole\n'
            'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
            'resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n'
            'write_whole({"w": torch.ones(1_000_000)}, sys.argv[1])')
    done = subprocess.run([sys.executable, '-c', code, str(tmp_path / 'a.pth')], capture_output=True,
                          text=True)
    assert 'a.pth could not be written: a file may not be that large here' in done.stderr
    assert names(tmp_path) == []


def test_a_read_only_folder_is_named(tmp_path):
    folder = tmp_path / 'disk'
    folder.mkdir()
    write_text('before', folder / 'a.json')
    with read_only(folder):
        for call in (lambda: write_text('after', folder / 'a.json'),
                     lambda: require_writable(folder / 'new' / 'b.json')):
            with pytest.raises(WriteError, match='could not be written: the file system is read-only'):
                call()
        assert (folder / 'a.json').read_text() == 'before' and names(folder) == ['a.json']


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / 'file').write_text('kept')
    for path in (tmp_path / 'file/a.json', tmp_path / 'file/new/a.json'):
        with pytest.raises(WriteError, match='there is a file where a folder should be'):
            require_writable(path)
    with pytest.raises(WriteError, match='there is a file where a folder should be'):
        write_text('', tmp_path / 'file/a.json')
    assert (tmp_path / 'file').read_text() == 'kept'


def test_looking_whether_a_file_can_be_written_leaves_nothing(tmp_path):
    require_writable(tmp_path / 'a/b/c.json')
    assert names(tmp_path) == []


def test_two_processes_may_write_the_same_file(tmp_path):
    code = ('import sys\nfrom denoiserep_ext.core.files.writing import write_json\n'
            'for i in range(40): write_json([sys.argv[2]] * 5000, sys.argv[1])')
    path = tmp_path / 'a.json'
    both = [subprocess.Popen([sys.executable, '-c', code, str(path), name]) for name in 'ab']
    while not path.exists():
        time.sleep(0.01)
    while any(process.poll() is None for process in both):
        assert len(set(json.loads(path.read_text()))) == 1
    assert [process.returncode for process in both] == [0, 0] and names(tmp_path) == ['a.json']
