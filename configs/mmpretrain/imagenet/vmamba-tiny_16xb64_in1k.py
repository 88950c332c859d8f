# Baseline: VMamba-T[s1l8], published with 82.6 % on ImageNet. Its authors took over Swin's schedule and
# augmentation, with stochastic depth 0.2 and an average of the weights. Weight decay is theirs, too: of
# all parameters with two or more dimensions, A_logs and dt_projs_bias among them.
_base_ = 'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py'

model = dict(
    backbone=dict(
        _delete_=True, type='denoiserep_ext.VMamba', arch='tiny', drop_path_rate=0.2))
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={'.Ds': dict(decay_mult=0.0)}))
custom_hooks = [dict(type='EMAHook', momentum=1e-4, priority='ABOVE_NORMAL')]
