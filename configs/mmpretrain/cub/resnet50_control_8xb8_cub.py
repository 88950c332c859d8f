# Control: the published ResNet-50 (88.45 % on CUB-200), trained on for 20 epochs at one tenth of
# its learning rate, without DenoiseRep.
_base_ = 'mmpretrain::resnet/resnet50_8xb8_cub.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb8_cub_20220307-57840e60.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
