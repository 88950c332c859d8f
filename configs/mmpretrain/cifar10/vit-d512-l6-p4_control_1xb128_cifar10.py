# Control: the baseline beside this file (train that first), trained on for 20 epochs at one tenth
# of its learning rate, without DenoiseRep.
_base_ = './vit-d512-l6-p4_1xb128_cifar10.py'

load_from = 'work_dirs/vit-d512-l6-p4_1xb128_cifar10/epoch_200.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-05))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
