# Control: the baseline beside this file (train that first), trained on for 20 epochs at one tenth
# of its learning rate, without DenoiseRep.
_base_ = './vmamba-tiny_8xb8_pet-224px.py'

load_from = 'work_dirs/vmamba-tiny_8xb8_pet-224px/epoch_100.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-05))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
