# Label-free: the backbone stands still, one epoch of images gives the moments the predictors are
# solved from.
_base_ = './vit-d512-l6-p4_denoiserep-joint_1xb128_cifar10.py'

custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='frozen')]

param_scheduler = []
train_cfg = dict(max_epochs=1)
