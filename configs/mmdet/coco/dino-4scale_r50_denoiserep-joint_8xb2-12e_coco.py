# Published DINO R50 on COCO (box AP 49.0).
# Denoised while it trains on: 12 more epochs at one tenth of its learning rate.
# The MLPs of the transformer are converted beside the backbone; nn.MultiheadAttention is left alone.
_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'

load_from = 'https://download.openmmlab.com/mmdetection/v3.0/dino/dino-4scale_r50_8xb2-12e_coco/dino-4scale_r50_8xb2-12e_coco_20221202_182705-55b2bba2.pth'  # noqa
custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook',
        recipe='joint',
        layers=dict(backbone='auto', encoder='auto', decoder='auto')),
]

optim_wrapper = dict(optimizer=dict(lr=0.00001))
