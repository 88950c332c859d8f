# The authors' training: predictors by SGD on the denoising loss in turn with everything else. Blocks
# of one epoch, so that either side has six of the twelve.
_base_ = './dino-4scale_r50_denoiserep-joint_8xb2-12e_coco.py'

custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook',
        recipe='alternate',
        solver='sgd',
        period=1,
        loss_weight=0.01,
        layers=dict(backbone='auto', encoder='auto', decoder='auto')),
]
