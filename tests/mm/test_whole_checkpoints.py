"""Checkpoints of a Runner: whole or not there, the old one kept until the new one is, damage named."""
from pathlib import Path

import pytest

from denoiserep_ext.core.files.whole import is_whole
from tests.disks import small_disk
from tests.kills.trial import differing
from tests.mm.helpers import build, classifier_config, load, train


def config(work_dir, digits, baseline, **options):
    cfg = classifier_config(work_dir, digits, epochs=3, hook={}, load_from=baseline())
    cfg.default_hooks.checkpoint.update(options)
    return cfg


def resumed(cfg, path=None):
    cfg.resume, cfg.load_from = True, path
    return cfg


def names(folder):
    """Files there, but for the host's copy of the config."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != '.py')


def cut(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


@pytest.fixture
def failing(monkeypatch):
    """The disk fills up while the checkpoint of an epoch is written."""
    def fail_at(runner, name):
        save = runner.save_checkpoint

        def full(out_dir, filename, *args, **kwargs):
            if filename.startswith(name):
                (Path(out_dir) / filename).write_bytes(b'half a file')
                raise OSError(28, 'No space left on device')
            return save(out_dir, filename, *args, **kwargs)

        monkeypatch.setattr(runner, 'save_checkpoint', full)
        return runner
    return fail_at


def test_the_only_kept_checkpoint_survives_a_failure_of_the_next(tmp_path, digits, baseline, failing):
    runner = failing(build(config(tmp_path, digits, baseline, max_keep_ckpts=1)), 'epoch_2')
    with pytest.raises(OSError, match='epoch_2.pth could not be written: the disk is full'):
        runner.train()
    assert names(tmp_path) == ['epoch_1.pth', 'last_checkpoint'] and is_whole(tmp_path / 'epoch_1.pth')
    train(resumed(config(tmp_path, digits, baseline, max_keep_ckpts=1)))
    assert names(tmp_path) == ['epoch_3.pth', 'last_checkpoint']


def test_a_full_disk_is_named_and_the_earlier_checkpoint_stays(tmp_path, digits, baseline):
    train(config(tmp_path / 'roomy', digits, baseline))
    room = int(1.7 * (tmp_path / 'roomy/epoch_1.pth').stat().st_size)
    with small_disk(tmp_path / 'disk', room) as disk:
        cfg = config(tmp_path / 'logs', digits, baseline, max_keep_ckpts=1, out_dir=str(disk))
        with pytest.raises(OSError, match='epoch_2.pth could not be written: the disk is full'):
            train(cfg)
        assert names(disk / 'logs') == ['epoch_1.pth'] and is_whole(disk / 'logs/epoch_1.pth')
        # Resumed, with room and the note of the newest one lost:
        half = disk / 'logs/epoch_9.pth.0123abcd.partial'
        half.write_bytes(b'half')
        (tmp_path / 'logs/last_checkpoint').write_text('')
        cfg.train_cfg.max_epochs = 1
        assert train(resumed(cfg)).epoch == 1 and not half.exists()


def test_the_best_checkpoint_survives_a_failure_of_the_next(tmp_path, digits, baseline, failing):
    options = dict(max_keep_ckpts=1, save_best='accuracy/top1', rule='less')
    runner = failing(build(config(tmp_path, digits, baseline, **options)), 'best_accuracy_top1_epoch_2')
    runner.message_hub.update_info('x', 0)
    for hook in runner.hooks:  # whatever it scores, the second epoch is better
        if type(hook).__name__ == 'CheckpointHook':
            hook.is_better_than['accuracy/top1'] = lambda now, best: True
    with pytest.raises(OSError, match='best_accuracy_top1_epoch_2.pth could not be written'):
        runner.train()
    assert 'best_accuracy_top1_epoch_1.pth' in names(tmp_path)
    assert all(is_whole(path) for path in tmp_path.glob('*.pth'))


def test_as_many_are_kept_as_asked_for(tmp_path, digits, baseline):
    train(config(tmp_path, digits, baseline, max_keep_ckpts=2))
    assert names(tmp_path) == ['epoch_2.pth', 'epoch_3.pth', 'last_checkpoint']


@pytest.mark.parametrize('damage', [cut, Path.unlink], ids=['damaged', 'gone'])
def test_the_one_before_a_damaged_checkpoint_is_taken(tmp_path, digits, baseline, damage):
    cfg = config(tmp_path, digits, baseline)
    train(cfg)
    wanted = load(tmp_path / 'epoch_3.pth')
    damage(tmp_path / 'epoch_3.pth')
    runner = build(resumed(cfg))
    log = []
    runner.logger.handlers[0].emit = lambda record: log.append(record.getMessage())
    runner.train()
    assert any('epoch_2.pth, the last whole one before it' in line for line in log), log
    reason = 'epoch_3.pth is damaged' if damage is cut else 'names no checkpoint that is there'
    assert any(reason in line for line in log)
    found = load(tmp_path / 'epoch_3.pth')
    for key in ('state_dict', 'denoiserep', 'optimizer'):
        assert differing(wanted[key], found[key], key) == ''


def test_a_lost_note_of_the_newest_means_the_newest(tmp_path, digits, baseline):
    cfg = config(tmp_path, digits, baseline)
    train(cfg)
    (tmp_path / 'last_checkpoint').write_text('')
    assert train(resumed(cfg)).epoch == 3  # nothing is left to train, or to save
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_3.pth')


def test_a_damaged_checkpoint_given_by_hand_is_refused(tmp_path, digits, baseline):
    cfg = config(tmp_path, digits, baseline)
    train(cfg)
    cut(tmp_path / 'epoch_2.pth')
    with pytest.raises(ValueError, match='epoch_2.pth is damaged: resume from .*epoch_1.pth'):
        train(resumed(cfg, str(tmp_path / 'epoch_2.pth')))
    cut(tmp_path / 'epoch_1.pth')
    with pytest.raises(ValueError, match='epoch_1.pth is damaged, and there is no whole'):
        train(resumed(cfg, str(tmp_path / 'epoch_1.pth')))


def test_what_a_killed_run_left_half_written_is_cleared(tmp_path, digits, baseline):
    half = tmp_path / 'epoch_9.pth.0123abcd.partial'
    half.write_bytes(b'half')
    train(config(tmp_path, digits, baseline))
    assert not half.exists()


def test_a_run_that_only_evaluates_is_left_alone(tmp_path, digits, baseline):
    cfg = config(tmp_path, digits, baseline)
    half = tmp_path / 'epoch_9.pth.0123abcd.partial'
    half.write_bytes(b'half')
    build(cfg).test()
    assert half.exists()
