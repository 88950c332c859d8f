# Control: the published ResNet-50 (76.55 % on ImageNet), trained on for 20 epochs at one tenth of
# its learning rate, without DenoiseRep.
_base_ = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
