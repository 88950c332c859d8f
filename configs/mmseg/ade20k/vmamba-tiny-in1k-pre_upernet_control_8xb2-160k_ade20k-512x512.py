# Control: the published UPerNet VMamba-T[s1l8] (mIoU 47.9 on ADE20K), trained on for 40k iterations
# at one tenth of its learning rate, without DenoiseRep.
_base_ = './vmamba-tiny-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'

load_from = 'https://github.com/MzeroMiko/VMamba/releases/download/%23v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_tiny_s_iter_160000.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.000006))
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=1.0, begin=0, end=40000, by_epoch=False)]
train_cfg = dict(max_iters=40000, val_interval=8000)
default_hooks = dict(checkpoint=dict(interval=8000))
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU']), dict(type='denoiserep_ext.BIoUMetric')]
test_evaluator = val_evaluator
