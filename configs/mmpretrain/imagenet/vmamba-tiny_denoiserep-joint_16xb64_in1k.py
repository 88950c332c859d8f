# Published VMamba-T[s1l8] on ImageNet (82.6).
# Denoised while it trains on: one tenth of its learning rate, 20 more epochs.
# python tools/convert_vmamba.py https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/vssm1_tiny_0230s_ckpt_epoch_264.pth checkpoints/vmamba-tiny_in1k.pth  # noqa
_base_ = './vmamba-tiny_16xb64_in1k.py'

load_from = 'checkpoints/vmamba-tiny_in1k.pth'
custom_hooks = [
    dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint'),
    dict(type='EMAHook', momentum=1e-4, priority='ABOVE_NORMAL'),
]

optim_wrapper = dict(optimizer=dict(lr=0.0001))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
