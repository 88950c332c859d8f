# Label-free: the detector stands still, one epoch of images gives the moments the predictors are
# solved from.
_base_ = './dino-4scale_r50_denoiserep-joint_8xb2-12e_coco.py'

custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook',
        recipe='frozen',
        layers=dict(backbone='auto', encoder='auto', decoder='auto')),
]

param_scheduler = []
train_cfg = dict(max_epochs=1)
