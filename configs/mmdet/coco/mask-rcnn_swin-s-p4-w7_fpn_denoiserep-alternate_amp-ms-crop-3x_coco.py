# The authors' training: predictors by SGD on the denoising loss in turn with everything else. Blocks
# of one epoch, so that either side has six of the twelve.
_base_ = './mask-rcnn_swin-s-p4-w7_fpn_denoiserep-joint_amp-ms-crop-3x_coco.py'

custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook',
        recipe='alternate',
        solver='sgd',
        period=1,
        loss_weight=0.01),
]
