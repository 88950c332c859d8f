# The authors' training: predictors by SGD on the denoising loss in turn with everything else, here in
# blocks counted in iterations.
_base_ = './vmamba-tiny-in1k-pre_upernet_denoiserep-joint_8xb2-160k_ade20k-512x512.py'

custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook',
        recipe='alternate',
        solver='sgd',
        period=4000,
        loss_weight=0.01),
]
