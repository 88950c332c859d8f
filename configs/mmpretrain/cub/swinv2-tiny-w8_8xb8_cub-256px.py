# Baseline: no such checkpoint is published for CUB-200, so this config trains the one that the
# DenoiseRep configs start from, itself from published ImageNet weights.
_base_ = ['../_base_/finetune_swinv2-tiny-w8.py', '../_base_/fine_grained_bs8_256.py']

model = dict(head=dict(num_classes=200))
