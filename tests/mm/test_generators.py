"""A resumed run draws what an uninterrupted one draws: dropout, augmentation, loading processes."""
import copy
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from denoiserep_ext.core.trees import map_tensors, tensors_in
from denoiserep_ext.mm.generator_states import restore_, states
from denoiserep_ext.mm.generators import KEY, Generators, RestoredAfter
from tests.helpers import first_of
from tests.kills.trial import differing
from tests.mm.helpers import build, classifier_config, load, train


def resumed(cfg):
    cfg.resume, cfg.load_from = True, None
    return cfg


class Cut(Hook):
    """A power cut in front of an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


def draws():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(3).tolist()


def test_states_put_back_give_the_same_draws():
    np.random.randn()  # leaves a second number behind
    random.gauss(0, 1)
    saved = copy.deepcopy(states())
    first = draws()
    assert draws() != first
    restore_(saved)
    assert draws() == first


def test_states_are_tensors_and_plain_data(tmp_path):
    torch.save(states(), tmp_path / 'states.pth')
    restore_(torch.load(tmp_path / 'states.pth', weights_only=True))


class OnGpu(torch.Tensor):
    """Stands for a tensor that was read onto a GPU: it has to come down before anything reads it."""

    def cpu(self):
        return self.as_subclass(torch.Tensor)

    def numpy(self):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")


def test_states_read_onto_a_gpu_come_down():
    """mmengine resumes with the device that trains as ``map_location``."""
    own = {**states(), 'workers': [states(), None]}
    first = draws()
    own['cuda'] = torch.zeros(16, dtype=torch.uint8)
    saved = map_tensors(lambda x: x.as_subclass(OnGpu), [own])
    assert tensors_in(saved) and all(type(x) is OnGpu for x in tensors_in(saved))
    hook = Generators()
    hook.after_load_checkpoint(SimpleNamespace(_resume=True), {KEY: saved})
    resumed, = hook._resumed
    assert all(type(x) is torch.Tensor for x in tensors_in(resumed))
    for each in (resumed, resumed['workers'][0]):
        restore_({name: each[name] for name in ('python', 'numpy', 'torch')})
        assert draws() == first


def config(work_dir, digits, workers, by_epoch, **overrides):
    """Dropout in the model, random crops and flips in the pipeline, validation in between.

    Args:
        workers: Loading processes; below 0, new ones for every epoch.
    """
    cfg = classifier_config(work_dir, digits, epochs=3, **overrides)
    cfg.train_dataloader.dataset.pipeline[2:2] = [
        dict(type='RandomCrop', crop_size=16, padding=2), dict(type='RandomFlip', prob=0.5)]
    cfg.train_dataloader.update(num_workers=abs(workers), persistent_workers=workers > 0)
    if not by_epoch:
        cfg.train_cfg = dict(by_epoch=False, max_iters=12, val_interval=3)
        cfg.param_scheduler = None
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=2)
        cfg.train_dataloader.sampler.type = 'InfiniteSampler'
    return cfg


@pytest.mark.parametrize('workers, by_epoch, hook', first_of([
    (2, True, {}), (0, False, None), (0, True, {}), (-2, True, {}), (0, False, {}), (2, False, {}),
    (0, True, None)]), ids=str)
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path, digits, baseline, workers, by_epoch,
                                                       hook):
    options = dict(load_from=baseline(), hook=hook)
    own = [dict(type='denoiserep_ext.Generators')] if hook is None else []

    def made(name):
        cfg = config(tmp_path / name, digits, workers, by_epoch, **options)
        cfg.custom_hooks += own
        return cfg

    train(made('whole'))
    cut = build(made('cut'))
    cut.register_hook(Cut(7))  # the last checkpoint is behind iteration 4 (epochs) or 6
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    random.seed(9)
    train(resumed(made('cut')))
    ends = [load(Path((tmp_path / name / 'last_checkpoint').read_text())) for name in ('whole', 'cut')]
    for key in ('state_dict', 'optimizer', KEY, *(['denoiserep'] if hook is not None else [])):
        assert differing(ends[0][key], ends[1][key], key) == ''


def test_validation_leaves_the_generators_of_training_alone(tmp_path, digits, baseline):
    ends = []
    for interval in (1, 5):
        cfg = config(tmp_path / str(interval), digits, 0, True, load_from=baseline(), hook={})
        cfg.train_cfg.val_interval = interval
        ends.append(train(cfg))
    ours, theirs = (runner.model.state_dict() for runner in ends)
    assert differing(ours, theirs) == ''


def test_a_checkpoint_without_states_is_announced(tmp_path, digits, baseline):
    cfg = config(tmp_path, digits, 0, True, load_from=baseline(), hook={})
    train(cfg)
    checkpoint = load(tmp_path / 'epoch_2.pth')
    del checkpoint[KEY]
    torch.save(checkpoint, tmp_path / 'epoch_2.pth')
    cfg = resumed(cfg)
    cfg.load_from = str(tmp_path / 'epoch_2.pth')
    runner = build(cfg)
    log = []
    runner.logger.handlers[0].emit = lambda record: log.append(record.getMessage())
    runner.train()
    assert any('holds no states of random generators' in line for line in log), log
    assert any(isinstance(hook, Generators) for hook in runner.hooks)


@pytest.mark.parametrize('passed', [3, 0])
def test_batches_passed_over_are_loaded_and_the_generators_put_back_behind_them(monkeypatch, passed):
    """One by one as mmengine's loop does, or by ``skip_iter`` as OneDL's."""
    events = []
    monkeypatch.setattr('denoiserep_ext.mm.generators.restore_', events.append)

    def batches():
        for number in range(9):
            events.append(number)
            yield number

    for skip in (lambda it: it.skip_iter(passed), lambda it: [next(it) for _ in range(passed)]):
        events.clear()
        restored = RestoredAfter(batches(), passed, 'states')
        skip(restored)
        assert [next(restored), next(restored)] == [passed, passed + 1]
        assert events == [*range(passed), 'states', passed, passed + 1]
