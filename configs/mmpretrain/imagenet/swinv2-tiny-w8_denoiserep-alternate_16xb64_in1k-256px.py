# Alternate: blocks of ten epochs, predictors and backbone in turn, 120 epochs in all.
_base_ = ['./swinv2-tiny-w8_control_16xb64_in1k-256px.py', '../../_recipes_/alternate.py']

param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=120)]
train_cfg = dict(max_epochs=120)
