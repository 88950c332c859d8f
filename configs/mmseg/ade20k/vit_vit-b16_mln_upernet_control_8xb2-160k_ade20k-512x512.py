# Control: the published UPerNet ViT-B/16 (mIoU 46.75 on ADE20K), trained on for 40k iterations at
# one tenth of its learning rate, without DenoiseRep.
# The stock config's file of ImageNet weights, to be converted by hand, is not needed to go on.
_base_ = 'mmseg::vit/vit_vit-b16_mln_upernet_8xb2-160k_ade20k-512x512.py'

load_from = 'https://download.openmmlab.com/mmsegmentation/v0.5/vit/upernet_vit-b16_mln_512x512_160k_ade20k/upernet_vit-b16_mln_512x512_160k_ade20k_20210624_130547-852fa768.pth'  # noqa
model = dict(pretrained=None)
optim_wrapper = dict(optimizer=dict(lr=0.000006))
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=1.0, begin=0, end=40000, by_epoch=False)]
train_cfg = dict(max_iters=40000, val_interval=8000)
default_hooks = dict(checkpoint=dict(interval=8000))
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU']), dict(type='denoiserep_ext.BIoUMetric')]
test_evaluator = val_evaluator
