# The authors' training: predictors by SGD on the denoising loss in turn with everything else. Blocks
# of one epoch, so that either side has six of the twelve.
_base_ = './mask-rcnn_vmamba-t_fpn_denoiserep-joint_1x_coco.py'

custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook',
        recipe='alternate',
        solver='sgd',
        period=1,
        loss_weight=0.01),
]
