# Baseline: Mask R-CNN with VMamba-T[s1l8], published with box AP 47.3, mask AP 42.7.
# As its authors do, weight decay follows the stock config: all but norms, A_logs and Ds too.
_base_ = 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='denoiserep_ext.VMamba',
        arch='tiny',
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.2,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/vssm1_tiny_0230s_ckpt_epoch_264.pth')))  # noqa
