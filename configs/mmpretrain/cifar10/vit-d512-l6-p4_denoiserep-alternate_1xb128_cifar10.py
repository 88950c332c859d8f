# Alternate: blocks of ten epochs, predictors and backbone in turn, 200 epochs in all.
_base_ = ['./vit-d512-l6-p4_control_1xb128_cifar10.py', '../../_recipes_/alternate.py']

param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=200)]
train_cfg = dict(max_epochs=200)
