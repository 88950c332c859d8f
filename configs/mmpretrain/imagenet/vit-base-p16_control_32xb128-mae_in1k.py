# Control: the published ViT-B/16 (82.37 % on ImageNet), trained on for 20 epochs at one tenth of
# its learning rate, without DenoiseRep.
_base_ = 'mmpretrain::vision_transformer/vit-base-p16_32xb128-mae_in1k.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/vit/vit-base-p16_pt-32xb128-mae_in1k_20220623-4c544545.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.00016))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
