# Control: the baseline beside this file (train that first), trained on for 20 epochs at one tenth
# of its learning rate, without DenoiseRep.
_base_ = './resnet50_8xb8_pet.py'

load_from = 'work_dirs/resnet50_8xb8_pet/epoch_100.pth'
optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
