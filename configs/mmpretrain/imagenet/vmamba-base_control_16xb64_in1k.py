# Control: the published VMamba-B[s2l15] (83.9 % on ImageNet), trained on for 20 epochs at one tenth
# of its learning rate, without DenoiseRep.
# python tools/convert_vmamba.py https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/vssm_base_0229_ckpt_epoch_237.pth checkpoints/vmamba-base_in1k.pth  # noqa
_base_ = './vmamba-base_16xb64_in1k.py'

load_from = 'checkpoints/vmamba-base_in1k.pth'
optim_wrapper = dict(optimizer=dict(lr=0.0001))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
