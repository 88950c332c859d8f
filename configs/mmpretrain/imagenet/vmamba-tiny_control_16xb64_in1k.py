# Control: the published VMamba-T[s1l8] (82.6 % on ImageNet), trained on for 20 epochs at one tenth
# of its learning rate, without DenoiseRep.
# python tools/convert_vmamba.py https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/vssm1_tiny_0230s_ckpt_epoch_264.pth checkpoints/vmamba-tiny_in1k.pth  # noqa
_base_ = './vmamba-tiny_16xb64_in1k.py'

load_from = 'checkpoints/vmamba-tiny_in1k.pth'
optim_wrapper = dict(optimizer=dict(lr=0.0001))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
