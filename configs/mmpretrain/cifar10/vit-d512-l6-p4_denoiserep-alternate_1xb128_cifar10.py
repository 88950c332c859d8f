# The authors' training: blocks of ten epochs, predictors by SGD on the denoising loss in turn with
# the backbone, 200 epochs in all.
_base_ = './vit-d512-l6-p4_denoiserep-joint_1xb128_cifar10.py'

custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook',
        recipe='alternate',
        solver='sgd',
        period=10,
        loss_weight=0.01),
]

param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=200)]
train_cfg = dict(max_epochs=200)
