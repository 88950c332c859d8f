# Control: the published Swin-B (83.36 % on ImageNet), trained on for 20 epochs at one tenth of its
# learning rate, without DenoiseRep.
_base_ = 'mmpretrain::swin_transformer/swin-base_16xb64_in1k.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/swin-transformer/swin_base_224_b16x64_300e_imagenet_20210616_190742-93230b0d.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.0001))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
