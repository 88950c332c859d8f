# Eight more epochs from the baseline, at one tenth of its learning rate, with the one line.
_base_ = ['./mask-rcnn_r18-w16_fpn_1xb8_scenes.py']

load_from = 'work_dirs/mask-rcnn_r18-w16_fpn_1xb8_scenes/epoch_16.pth'
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook')]

optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = dict(end=8)
train_cfg = dict(max_epochs=8)
default_hooks = dict(checkpoint=dict(interval=8))
