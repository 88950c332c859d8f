# Control: the published DeiT-S, a ViT-S/16 (80.69 % on ImageNet), trained on for 20 epochs at one
# tenth of its learning rate, without DenoiseRep.
_base_ = 'mmpretrain::deit/deit-small_4xb256_in1k.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/deit/deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.0001))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
