"""Signs of life, and an end of timing that does not wait for its steps."""
import threading
import time

import pytest

from denoiserep_ext.compare.alive import signs_of_life


def test_what_is_silent_tells_that_it_goes_on(capsys):
    with signs_of_life('timing', pause=0.05):
        time.sleep(0.3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'timing ...' and 'timing: 0 s so far' in lines[1:]
    count = len(lines)
    time.sleep(0.15)
    assert not capsys.readouterr().out and count > 2, 'it ends with what it tells of'


def test_timing_in_turns_can_be_stopped():
    measure = pytest.importorskip('denoiserep_ext.compare.measure')
    turns, errors = measure.Turns(['a', 'b']), []

    def steps(name):
        while True:
            turns.begin(name)
            time.sleep(0.01)
            turns.end(name)

    def job(name):
        try:
            turns.run(name, lambda: steps(name))
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=job, args=name, daemon=True) for name in 'ab']
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    turns.stop()
    for thread in threads:
        thread.join(10)
    assert errors == ['Timing was stopped.'] * 2
    assert min(map(len, turns.seconds.values())) > 1
