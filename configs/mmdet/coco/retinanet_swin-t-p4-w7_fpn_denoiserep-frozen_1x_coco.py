# Label-free: the detector stands still, one epoch of images gives the moments the predictors are
# solved from.
_base_ = './retinanet_swin-t-p4-w7_fpn_denoiserep-joint_1x_coco.py'

custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='frozen')]

param_scheduler = []
train_cfg = dict(max_epochs=1)
