#!/usr/bin/env bash
# Installs what is missing, then shows DenoiseRep at work on real images: a small ViT and a small
# ResNet on scikit-learn's handwritten digits, baseline / control / DenoiseRep over three seeds, in
# stock MMPretrain. About ten minutes on 2 cores after the installation. Run it again to go on where
# it stopped. Options are passed on to tools/compare.py (--seeds 0 1, say).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/install.sh
source .venv/bin/activate

configs=configs/mmpretrain/digits
python -m denoiserep_ext digits data/digits
python tools/compare.py \
  $configs/vit-tiny_denoiserep-joint_1xb64_digits.py \
  $configs/resnet18-w16_denoiserep-joint_1xb64_digits.py \
  --baseline $configs/vit-tiny_1xb64_digits.py $configs/resnet18-w16_1xb64_digits.py \
  --seeds 0 1 2 --jobs "$(nproc)" --work-dir work_dirs/quickstart "$@"
