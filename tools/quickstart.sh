#!/usr/bin/env bash
# Installs what is missing, then shows DenoiseRep at work on real images: baseline / control /
# DenoiseRep on scikit-learn's handwritten digits, in the stock toolboxes. Run it again to go on where
# it stopped.
#   bash tools/quickstart.sh                   a small ViT and a small ResNet in MMPretrain, three seeds;
#                                              about ten minutes on 2 cores after the installation
#   bash tools/quickstart.sh --vmamba          a small VMamba in MMPretrain, three seeds; about ten minutes
#   bash tools/quickstart.sh --detection       Mask R-CNN on scenes of digits in MMDetection, two seeds;
#                                              about half an hour
#   bash tools/quickstart.sh --segmentation    FCN on the same scenes in MMSegmentation, two seeds; about
#                                              half an hour
#   bash tools/quickstart.sh --retrieval       OSNet on the digits as a re-identification set in FastReID,
#                                              three seeds; about ten minutes
# Further options are passed on to tools/compare.py (--seeds 0 1, say).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
task=classification
case ${1:-} in
  --vmamba | --detection | --segmentation | --retrieval) task=${1#--}; shift ;;
esac
bash tools/install.sh
source .venv/bin/activate

compare() {  # FOLDER METRIC SEEDS MODEL...: the joint config of each model against its baseline
  local folder=$1 metric=$2 seeds=$3 ours=() baselines=()
  shift 3
  for model in "$@"; do
    ours+=("configs/$folder/${model/@/denoiserep-joint_}")
    baselines+=("configs/$folder/${model/@/}")
  done
  # shellcheck disable=SC2086
  python tools/compare.py "${ours[@]}" --baseline "${baselines[@]}" --metric "$metric" \
    --seeds $seeds --jobs "$(nproc)" "${options[@]}"
}

options=("$@")
case $task in
  classification)
    python -m denoiserep_ext digits data/digits
    options=(--work-dir work_dirs/quickstart "${options[@]}")
    compare mmpretrain/digits accuracy/top1 "0 1 2" vit-tiny_@1xb64_digits.py \
      resnet18-w16_@1xb64_digits.py
    ;;
  vmamba)
    python -m denoiserep_ext digits data/digits
    options=(--work-dir work_dirs/quickstart_vmamba "${options[@]}")
    compare mmpretrain/digits accuracy/top1 "0 1 2" vmamba-d48_@1xb64_digits.py
    ;;
  detection)
    python -m denoiserep_ext scenes data/scenes --seed 0
    options=(--work-dir work_dirs/quickstart_detection "${options[@]}")
    compare mmdet/scenes coco/bbox_mAP "0 1" mask-rcnn_r18-w16_fpn_@1xb8_scenes.py
    ;;
  segmentation)
    python -m denoiserep_ext scenes data/scenes --seed 0
    options=(--work-dir work_dirs/quickstart_segmentation "${options[@]}")
    compare mmseg/scenes mIoU "0 1" fcn_r18-w16-d16_@1xb16_scenes.py
    ;;
  retrieval)
    python -m denoiserep_ext retrieval data/retrieval
    options=(--work-dir work_dirs/quickstart_retrieval "${options[@]}")
    python tools/compare.py configs/fastreid/digits/osnet_x0-25_denoiserep-joint.yml \
      --baseline configs/fastreid/digits/osnet_x0-25.yml --metric mAP --seeds 0 1 2 \
      --jobs "$(nproc)" "${options[@]}"
    ;;
esac
