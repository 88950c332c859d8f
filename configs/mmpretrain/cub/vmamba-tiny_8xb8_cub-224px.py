# Baseline: no such checkpoint is published for CUB-200, so this config trains the one that the
# DenoiseRep configs start from, itself from published ImageNet weights.
_base_ = ['../_base_/finetune_vmamba-tiny.py', '../_base_/fine_grained_bs8_224.py']

model = dict(head=dict(num_classes=200))
