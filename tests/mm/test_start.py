"""The hook says where training starts from random weights."""

import pytest
from mmengine.model import BaseModule

from denoiserep_ext.mm.start import warn_of_random_weights
from tests.mm.helpers import build, classifier_config, train

WARNING = 'Training starts from random weights'


def warnings_of(folder):
    return sum(log.read_text().count(WARNING) for log in folder.glob('*/*.log'))


def test_random_weights_are_warned_of_once(tmp_path, digits):
    runner = train(classifier_config(tmp_path / 'run', digits, epochs=1, hook={}))
    runner.train()
    assert warnings_of(tmp_path / 'run') == 1
    again = train(classifier_config(tmp_path / 'auto', digits, epochs=1, hook={}, resume=True))
    assert again.epoch == 1 and warnings_of(tmp_path / 'auto') == 1, 'there was nothing to resume from'


def test_trained_weights_are_not_warned_of(tmp_path, digits, baseline):
    train(classifier_config(tmp_path / 'load', digits, epochs=1, hook={}, load_from=baseline()))
    train(classifier_config(tmp_path / 'resume', digits, hook={}, resume=True,
                            load_from=str(tmp_path / 'load/epoch_1.pth')))
    cfg = classifier_config(tmp_path / 'init', digits, epochs=1, hook={})
    cfg.model.backbone.init_cfg = [dict(type='Pretrained', checkpoint=baseline(), prefix='backbone.')]
    train(cfg)
    assert not any(warnings_of(tmp_path / name) for name in ('load', 'resume', 'init'))


@pytest.mark.parametrize('model, warned', [
    (dict(pretrained=None, backbone=dict(type='ResNet')), 1),
    (dict(pretrained='torchvision://resnet50'), 0),
    (dict(backbone=dict(type='TIMMBackbone', pretrained=False)), 1),
    (dict(backbone=dict(type='TIMMBackbone', pretrained=True)), 0),
    (dict(teacher=[dict(init_cfg=dict(type='mmengine.PretrainedInit', checkpoint='a.pth'))]), 0),
    (BaseModule(), 0),
], ids=['none', 'old style', 'timm off', 'timm', 'nested', 'built elsewhere'])
def test_every_way_to_name_trained_weights_is_known(tmp_path, digits, model, warned):
    runner = build(classifier_config(tmp_path, digits))
    runner.cfg.model = model
    warn_of_random_weights(runner)
    for handler in runner.logger.handlers:
        handler.flush()
    assert warnings_of(tmp_path) == warned
