# Control: the published SwinV2-S (83.74 % on ImageNet), trained on for 20 epochs at one tenth of
# its learning rate, without DenoiseRep.
_base_ = 'mmpretrain::swin_transformer_v2/swinv2-small-w8_16xb64_in1k-256px.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/swin-v2/swinv2-small-w8_3rdparty_in1k-256px_20220803-b01a4332.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.0001))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
