# RetinaNet Swin-T on COCO, trained by the config beside (no weights are published).
# Denoised while it trains on: 12 more epochs at one tenth of its learning rate.
_base_ = './retinanet_swin-t-p4-w7_fpn_1x_coco.py'

load_from = 'work_dirs/retinanet_swin-t-p4-w7_fpn_1x_coco/epoch_12.pth'
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint')]

optim_wrapper = dict(optimizer=dict(lr=0.001))
