# Label-free: the backbone stands still, one epoch of images gives the moments the predictors are
# solved from.
_base_ = './resnet50_denoiserep-joint_8xb8_flowers102.py'

custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='frozen')]

param_scheduler = []
train_cfg = dict(max_epochs=1)
