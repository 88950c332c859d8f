# Published RetinaNet R50-FPN on COCO (box AP 36.5).
# Denoised while it trains on: 12 more epochs at one tenth of its learning rate.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'

load_from = 'https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r50_fpn_1x_coco/retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth'  # noqa
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint')]

optim_wrapper = dict(optimizer=dict(lr=0.001))
