# Published Mask R-CNN VMamba-T[s1l8] on COCO (box AP 47.3, mask AP 42.7).
# Denoised while it trains on: 12 more epochs at one tenth of its learning rate.
_base_ = './mask-rcnn_vmamba-t_fpn_1x_coco.py'

load_from = 'https://github.com/MzeroMiko/VMamba/releases/download/%23v2det/mask_rcnn_vssm_fpn_coco_tiny_s_epoch_12.pth'  # noqa
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint')]

optim_wrapper = dict(optimizer=dict(lr=0.00001))
