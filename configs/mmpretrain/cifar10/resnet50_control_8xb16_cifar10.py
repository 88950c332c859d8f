# Control: the published ResNet-50 (95.55 % on CIFAR-10), trained on for 20 epochs at one tenth of
# its learning rate, without DenoiseRep.
_base_ = 'mmpretrain::resnet/resnet50_8xb16_cifar10.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_b16x8_cifar10_20210528-f54bfad9.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
