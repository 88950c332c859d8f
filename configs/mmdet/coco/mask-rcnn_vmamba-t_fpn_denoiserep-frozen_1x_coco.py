# Label-free: the detector stands still, one epoch of images gives the moments the predictors are
# solved from.
_base_ = './mask-rcnn_vmamba-t_fpn_denoiserep-joint_1x_coco.py'

custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='frozen')]

param_scheduler = []
train_cfg = dict(max_epochs=1)
