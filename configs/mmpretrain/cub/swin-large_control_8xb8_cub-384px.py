# Control: the published Swin-L (91.87 % on CUB-200), trained on for 20 epochs at one tenth of its
# learning rate, without DenoiseRep.
_base_ = 'mmpretrain::swin_transformer/swin-large_8xb8_cub-384px.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/swin-transformer/swin-large_8xb8_cub_384px_20220307-1bbaee6a.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=5e-07))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
