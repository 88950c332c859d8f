# Alternate: blocks of ten epochs, predictors and backbone in turn, 120 epochs in all.
_base_ = ['./vit-base-p16_control_8xb8_pet-224px.py', '../../_recipes_/alternate.py']

param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=120)]
train_cfg = dict(max_epochs=120)
