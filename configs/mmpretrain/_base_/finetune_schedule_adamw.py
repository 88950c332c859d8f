# MMPretrain's schedule for CUB-200, with AdamW for transformers. For these models on these data none
# is published: optimizer and learning rate are ours, the rest is the stock schedule's.
_base_ = './finetune_schedule_sgd.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0))
