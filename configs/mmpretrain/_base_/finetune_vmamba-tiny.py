# VMamba-T[s1l8] from its authors' ImageNet weights, fine-tuned with AdamW; the head is Swin's, as in
# theirs.
_base_ = ['mmpretrain::_base_/models/swin_transformer/tiny_224.py', './finetune_schedule_adamw.py']

model = dict(
    train_cfg=None,
    backbone=dict(
        _delete_=True,
        type='denoiserep_ext.VMamba',
        arch='tiny',
        drop_path_rate=0.2,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/vssm1_tiny_0230s_ckpt_epoch_264.pth')))  # noqa
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'.Ds': dict(decay_mult=0.0)}))
