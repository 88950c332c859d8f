# Control: the published UPerNet Swin-T (mIoU 44.41 on ADE20K), trained on for 40k iterations at one
# tenth of its learning rate, without DenoiseRep.
_base_ = 'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'

load_from = 'https://download.openmmlab.com/mmsegmentation/v0.5/swin/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K_20210531_112542-e380ad3e.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.000006))
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=1.0, begin=0, end=40000, by_epoch=False)]
train_cfg = dict(max_iters=40000, val_interval=8000)
default_hooks = dict(checkpoint=dict(interval=8000))
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU']), dict(type='denoiserep_ext.BIoUMetric')]
test_evaluator = val_evaluator
