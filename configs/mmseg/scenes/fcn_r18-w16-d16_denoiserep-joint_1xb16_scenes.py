# 800 more iterations from the baseline, at one tenth of its learning rate, with the one line.
_base_ = ['./fcn_r18-w16-d16_1xb16_scenes.py']

load_from = 'work_dirs/fcn_r18-w16-d16_1xb16_scenes/iter_2000.pth'
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook')]

optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = dict(end=800)
train_cfg = dict(max_iters=800, val_interval=400)
default_hooks = dict(checkpoint=dict(interval=800))
