# Alternate: blocks of ten epochs, predictors and backbone in turn, 120 epochs in all.
_base_ = ['./resnet50_control_8xb8_flowers102.py', '../../_recipes_/alternate.py']

param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=120)]
train_cfg = dict(max_epochs=120)
