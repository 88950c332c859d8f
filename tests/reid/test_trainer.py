"""DenoiseRep in FastReID's real trainer: phases, evaluation, checkpoints, resuming."""
import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from denoiserep_ext.core.files.plain import KEY
from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.reid import Trainer
from tests.helpers import first_of
from tests.reid.helpers import EPOCH, assert_same_state, load, reid_config, stock_model, train

D = 'MODEL.DENOISEREP.'
DEFAULT = ('joint', 'one_pass'), ('alternate', 'sgd'), ('frozen', 'one_pass')
EVERY = list(itertools.product(('joint', 'alternate', 'frozen'), ('one_pass', 'sgd')))
RECIPES = [pytest.param(*pair, marks=[] if pair in DEFAULT else [pytest.mark.matrix]) for pair in EVERY]


def started(tmp_path, digits, baseline, *overrides):
    """A trainer in front of its first step."""
    trainer = Trainer(reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline, *overrides))
    trainer.resume_or_load(False)
    trainer.denoising.learner.enter(0)
    return trainer


def mean_ap(results):
    return results['mAP']


@pytest.mark.parametrize('recipe, solver', RECIPES)
def test_checkpoint_is_plain_and_scores_as_the_live_model(tmp_path, digits, baseline, recipe, solver):
    cfg = reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline, D + 'RECIPE', recipe,
                      D + 'SOLVER', solver, D + 'LR_MULT', 100.0)
    trainer = train(cfg)
    live = trainer._last_eval_results
    checkpoint = load(tmp_path / 'model_final.pth')
    start = load(baseline)['model']
    assert checkpoint['model'].keys() == start.keys()
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(trainer.model))
    changed = [name for name, _ in denoise_layers(trainer.model)
               if not torch.equal(checkpoint['model'][f'{name}.weight'],
                                  checkpoint[KEY]['raw'][f'{name}.weight'])]
    assert len(changed) == len(list(denoise_layers(trainer.model)))
    stock = stock_model(cfg, tmp_path / 'model_final.pth')
    assert not list(denoise_layers(stock))
    assert Trainer.test(cfg, stock) == live


def test_frozen_moves_predictors_alone(tmp_path, digits, baseline):
    cfg = reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline, D + 'RECIPE', 'frozen')
    trainer = train(cfg)
    raw, start = trainer.model.state_dict(), load(baseline)['model']
    for key, value in start.items():
        assert torch.equal(raw[key], value), key
    optimizer = trainer.optimizer.state_dict()
    assert not optimizer['state'], 'the host\'s optimiser has stepped'


def test_frozen_never_looks_at_labels(tmp_path, digits, baseline):
    def features(poison):
        cfg = reid_config(tmp_path / str(poison), digits, 'MODEL.WEIGHTS', baseline,
                          D + 'RECIPE', 'frozen', 'DATALOADER.SAMPLER_TRAIN', 'TrainingSampler')
        cfg.SOLVER.MAX_EPOCH = 1

        class Poisoned(Trainer):
            @classmethod
            def build_train_loader(cls, cfg):
                loader = super().build_train_loader(cfg)
                if poison:
                    collate = loader.collate_fn
                    loader.collate_fn = lambda items: {'images': collate(items)['images']}
                return loader

        (tmp_path / str(poison)).mkdir()
        trainer = Poisoned(cfg)
        trainer.resume_or_load(False)
        trainer.train()
        return load(tmp_path / str(poison) / 'model_final.pth')['model']

    assert_same_state(features(False), features(True))


def test_alternate_moves_one_side_at_a_time(tmp_path, digits, baseline):
    cfg = reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline, D + 'RECIPE', 'alternate')
    train(cfg)
    first = load(tmp_path / 'model_0000.pth')[KEY]['raw']
    last = load(tmp_path / 'model_final.pth')[KEY]['raw']
    start = load(baseline)['model']
    for key in first:
        if '.denoiser.' in key:
            assert torch.equal(first[key], last[key]), f'{key} moved in the backbone\'s block'
        else:
            assert torch.equal(first[key], start[key]), f'{key} moved in the predictors\' block'
    weights = [key for key in first if key.endswith('.weight') and '.denoiser.' not in key]
    assert weights and all(not torch.equal(first[key], last[key]) for key in weights)


def test_zero_strength_is_the_control(tmp_path, digits, baseline):
    """With steps of zero the training is, bit for bit, the one without DenoiseRep."""
    ours = reid_config(tmp_path / 'ours', digits, 'MODEL.WEIGHTS', baseline, D + 'STEP_STRIDE', 0)
    control = reid_config(tmp_path / 'control', digits, 'MODEL.WEIGHTS', baseline,
                          'MODEL.META_ARCHITECTURE', 'Baseline')
    train(ours), train(control)
    ours, control = (load(tmp_path / which / 'model_final.pth')
                     for which in ('ours', 'control'))
    assert_same_state(ours['model'], control['model'])
    assert KEY in ours and KEY not in control


@pytest.mark.parametrize('recipe, solver', first_of(EVERY))
@pytest.mark.parametrize('fold', first_of([3, 1]))
def test_resumed_is_uninterrupted(tmp_path, digits, baseline, recipe, solver, fold):
    def config(which):
        return reid_config(tmp_path / which, digits, 'MODEL.WEIGHTS', baseline, D + 'RECIPE', recipe,
                           D + 'SOLVER', solver, D + 'FOLD_INTERVAL', fold, 'SOLVER.MAX_EPOCH', 3)

    train(config('whole'))
    train(config('parts'), epochs=1)
    train(config('parts'), resume=True, epochs=2)
    resumed = train(config('parts'), resume=True)
    assert resumed.start_epoch == 2
    whole, parts = (load(tmp_path / which / 'model_final.pth') for which in ('whole', 'parts'))
    assert_same_state(whole['model'], parts['model'])
    assert_same_state(whole[KEY]['raw'], parts[KEY]['raw'])
    assert whole['optimizer']['state'].keys() == parts['optimizer']['state'].keys()
    assert whole['lr_sched'] == parts['lr_sched']


def test_resuming_with_other_options_is_refused(tmp_path, digits, baseline):
    train(reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline), epochs=1)
    with pytest.raises(ValueError, match='step_stride is 3 here and 2 in the checkpoint'):
        train(reid_config(tmp_path, digits, D + 'STEP_STRIDE', 3), resume=True)


def test_best_checkpoint_survives_a_resume(tmp_path, digits, baseline):
    def config():
        return reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline, 'TEST.EVAL_PERIOD', 1)

    train(config(), epochs=1)
    best = load(tmp_path / 'model_best.pth')
    best['metric'] = 1000.0
    torch.save(best, tmp_path / 'model_best.pth')
    train(config(), resume=True)
    assert load(tmp_path / 'model_best.pth')['metric'] == 1000.0


@pytest.mark.parametrize('content', first_of(['cut', 'no metric']))
def test_a_damaged_best_checkpoint_does_not_keep_from_resuming(tmp_path, digits, baseline, content,
                                                               caplog):
    def config():
        return reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline, 'TEST.EVAL_PERIOD', 1)

    train(config(), epochs=1)
    best = tmp_path / 'model_best.pth'
    if content == 'no metric':
        torch.save({'model': {}}, best)
    else:
        best.write_bytes(best.read_bytes()[:1000])
    trainer = train(config(), resume=True)
    assert trainer.start_epoch == 1
    assert load(best)['metric'] == pytest.approx(trainer._last_eval_results['metric'])
    assert 'model_best.pth is ignored' in caplog.text


def test_last_checkpoint_that_names_none_is_refused(tmp_path, digits, baseline):
    trainer = started(tmp_path, digits, baseline)
    trainer.checkpointer.save('model_0000', epoch=0)
    for name, words in (('', 'names no checkpoint'), ('\n', 'names no checkpoint'),
                        ('gone.pth', 'names gone.pth, which is not there')):
        (tmp_path / 'last_checkpoint').write_text(name)
        with pytest.raises(FileNotFoundError, match=f'last_checkpoint {words}.*model_0000.pth'):
            trainer.resume_or_load(resume=True)


def test_last_checkpoint_appears_whole(tmp_path, digits, baseline, monkeypatch):
    trainer = started(tmp_path, digits, baseline)
    trainer.checkpointer.save('model_0000')

    def killed(path, text):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, 'write_text', killed)
    with pytest.raises(KeyboardInterrupt):
        trainer.checkpointer.save('model_0001')
    assert trainer.checkpointer.get_checkpoint_file() == str(tmp_path / 'model_0000.pth')


def test_nan_in_a_checkpoint_is_named_in_full(tmp_path, digits, baseline):
    poisoned = load(baseline)
    poisoned['model']['backbone.conv2.0.conv2b.0.bn.running_var'][0] = float('nan')
    torch.save(poisoned, tmp_path / 'nan.pth')
    cfg = reid_config(tmp_path, digits, 'MODEL.WEIGHTS', str(tmp_path / 'nan.pth'))
    with pytest.raises(ValueError, match='NaN or infinity.* backbone.conv2.0.conv2b.0.bn.running_var'):
        train(cfg)


def test_a_diverged_host_is_not_blamed_on_the_predictors(tmp_path, digits, baseline):
    """Weights that an optimiser's step has made infinite, seen where a checkpoint or scores are due."""
    trainer = started(tmp_path, digits, baseline)
    with torch.no_grad():
        for parameter in trainer.model.backbone.parameters():
            parameter.fill_(float('inf'))
    for act in (lambda: trainer.checkpointer.save('model'),
                lambda: trainer.test(trainer.cfg, trainer.model)):
        with pytest.raises(FloatingPointError, match='backbone.* is not finite.*it is its training that '
                                                     'has diverged, not the predictors'):
            act()
    assert not list(tmp_path.glob('*.pth*'))


def test_diverged_predictors_are_named_as_such(tmp_path, digits, baseline):
    trainer = started(tmp_path, digits, baseline, D + 'SOLVER', 'sgd')
    name, layer = next(denoise_layers(trainer.model))
    with torch.no_grad():
        layer.denoiser.weight.fill_(float('nan'))
        layer.denoiser.fitted.fill_(1.0)
    with pytest.raises(FloatingPointError, match=f'^{name}: non-finite.*predictor'):
        trainer.checkpointer.save('model')


def test_features_that_are_not_finite_are_named_in_full(tmp_path, digits, baseline):
    trainer = started(tmp_path, digits, baseline, D + 'RECIPE', 'frozen')
    trainer.model.pixel_mean.fill_(float('inf'))
    with pytest.raises(FloatingPointError, match='^backbone.conv2.*: its input had non-finite values'):
        trainer.train()


@pytest.mark.parametrize('solver', ['one_pass', 'sgd'])
def test_frozen_layers_of_the_host_stay_in_their_mode(tmp_path, digits, baseline, solver):
    """FREEZE_LAYERS puts the backbone's BatchNorm into evaluation mode once, for some iterations."""
    cfg = reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline, 'MODEL.FREEZE_LAYERS',
                      ['backbone'], 'SOLVER.FREEZE_ITERS', EPOCH, 'SOLVER.MAX_EPOCH', 1,
                      D + 'SOLVER', solver)
    train(cfg)
    raw, start = load(tmp_path / 'model_final.pth')[KEY]['raw'], load(baseline)['model']
    for key, value in raw.items():
        if '.denoiser.' not in key:
            assert torch.equal(value, start[key]), f'{key} is frozen'
    final = load(tmp_path / 'model_final.pth')['model']
    statistics = [key for key in final if key.startswith('backbone') and 'running_' in key]
    assert statistics
    assert all(torch.equal(final[key], start[key]) for key in statistics)


def test_precise_bn_is_no_sample(tmp_path, digits, baseline):
    """FastReID's PreciseBN runs the model in training mode after the last epoch."""
    moments = {}
    for enabled in (False, True):
        cfg = reid_config(tmp_path / str(enabled), digits, 'MODEL.WEIGHTS', baseline,
                          'TEST.PRECISE_BN.ENABLED', enabled, 'TEST.PRECISE_BN.NUM_ITER', 2,
                          'SOLVER.MAX_EPOCH', 1)
        train(cfg)
        moments[enabled] = load(tmp_path / str(enabled) / 'model_final.pth')[KEY]['moments']
    counts = [[state['count'] for state in m.values()] for m in moments.values()]
    assert counts[0] == counts[1]


def test_predictors_follow_the_hosts_schedule(tmp_path, digits, baseline):
    cfg = reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline, 'SOLVER.CLIP_GRADIENTS.ENABLED', True,
                      'SOLVER.OPT', 'SGD', D + 'SOLVER', 'sgd', D + 'LR_MULT', 4.0,
                      'SOLVER.MAX_EPOCH', 1, 'SOLVER.WARMUP_ITERS', 2)
    trainer = train(cfg)
    own = trainer.denoising.learner.sgd.optimizer
    assert type(own) is torch.optim.SGD, 'without what FastReID mixes into its own'
    group, host = own.param_groups[0], trainer.optimizer.param_groups[0]
    assert group['lr'] == pytest.approx(4 * cfg.SOLVER.BASE_LR * host['lr'] / host['initial_lr'])
    assert group['momentum'] == cfg.SOLVER.MOMENTUM and group['weight_decay'] == 0


def test_figures_reach_the_log(tmp_path, digits, baseline):
    train(reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline, 'SOLVER.MAX_EPOCH', 1))
    log = (tmp_path / 'metrics.json').read_text()
    for name in ('loss_denoise', 'denoise_floor', 'denoise_step_size', 'total_loss'):
        assert f'"{name}"' in log


@pytest.mark.parametrize('recipe', ['joint', 'alternate'])
def test_predictors_are_unknown_to_the_host(tmp_path, digits, recipe):
    cfg = reid_config(tmp_path, digits, D + 'SOLVER', 'sgd', D + 'RECIPE', recipe)
    tmp_path.mkdir(exist_ok=True)
    ours, stock = Trainer(cfg), None
    cfg.MODEL.META_ARCHITECTURE = 'Baseline'
    stock = Trainer(cfg)

    def sizes(trainer):
        return [[p.numel() for p in group['params']] for group in trainer.optimizer.param_groups]

    assert sizes(ours) == sizes(stock)
    assert isinstance(ours.model, nn.Module)
