#!/usr/bin/env bash
# Installs what is missing, then shows on real images (scikit-learn's handwritten digits) what the
# package does, in the stock toolboxes. Run it again to go on where it stopped.
#   bash tools/quickstart.sh                   a trained ViT and ResNet on clean and worse images, as they
#                                              are and denoised without labels; three seeds; about ten
#                                              minutes on 2 cores after the installation
# DenoiseRep in training: baseline / control / DenoiseRep, as in the paper:
#   bash tools/quickstart.sh --training        the same ViT and ResNet, three seeds; about ten minutes
#   bash tools/quickstart.sh --vmamba          a small VMamba in MMPretrain, three seeds; about ten minutes
#   bash tools/quickstart.sh --detection       Mask R-CNN on scenes of digits in MMDetection, two seeds;
#                                              about half an hour
#   bash tools/quickstart.sh --segmentation    FCN on the same scenes in MMSegmentation, two seeds; about
#                                              half an hour
#   bash tools/quickstart.sh --retrieval       OSNet on the digits as a re-identification set in FastReID,
#                                              three seeds; about ten minutes
# Further options:
#   --seeds N ...              seeds of the runs
#   --jobs N                   models at a time (default: one per core)
#   --work-dir FOLDER          where everything goes (default: work_dirs/quickstart...)
#   --cfg-options KEY=VALUE ...  overrides of every config
#   --skip-costs               in training: time nothing
#   -h, --help                 this text
set -euo pipefail

here=${BASH_SOURCE[0]}
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$here"; }
refuse() { printf 'quickstart: %s\n\n' "$1" >&2; usage >&2; exit 2; }

task=denoised options=()
words=("$@")
while (($#)); do
  option=$1 values=()
  shift
  while (($#)) && [[ $1 != -* ]]; do values+=("$1"); shift; done
  case $option in
    -h | --help) usage; exit 0 ;;
    --training | --vmamba | --detection | --segmentation | --retrieval)
      [[ $task == denoised ]] || refuse "--$task and $option: choose one"
      task=${option#--}
      ((${#values[@]} == 0)) || refuse "$option takes no value, got ${values[0]}"
      continue ;;
    --seeds)
      ((${#values[@]})) || refuse '--seeds needs numbers'
      for value in "${values[@]}"; do [[ $value =~ ^[0-9]+$ ]] || refuse "--seeds: $value is no number"; done ;;
    --jobs) [[ ${values[*]:-} =~ ^[1-9][0-9]*$ ]] || refuse '--jobs needs one number from 1' ;;
    --work-dir) ((${#values[@]} == 1)) || refuse '--work-dir needs one folder' ;;
    --cfg-options)
      ((${#values[@]})) || refuse '--cfg-options needs KEY=VALUE'
      for value in "${values[@]}"; do
        [[ $value == ?*=* ]] || refuse "--cfg-options: $value is not KEY=VALUE"
      done ;;
    --skip-costs) ((${#values[@]} == 0)) || refuse "$option takes no value, got ${values[0]}" ;;
    *) refuse "unknown option $option" ;;
  esac
  options+=("$option" "${values[@]}")
done
[[ $task != denoised || " ${options[*]:-} " != *' --skip-costs '* ]] ||
  refuse '--skip-costs is for training: add --training, say'

cd "$(dirname "$here")/.."
source tools/jobs.sh
end_jobs_on_interrupt quickstart \
  "go on with: bash tools/quickstart.sh$( ((${#words[@]} == 0)) || printf ' %q' "${words[@]}")"
start_job bash tools/install.sh
watch_job :  # it gives signs of life of its own
source .venv/bin/activate

digits=configs/mmpretrain/digits
compare() {  # FOLDER METRIC SEEDS MODEL...: the joint config of each model against its baseline
  local folder=$1 metric=$2 seeds=$3 ours=() baselines=()
  shift 3
  for model in "$@"; do
    ours+=("configs/$folder/${model/@/denoiserep-joint_}")
    baselines+=("configs/$folder/${model/@/}")
  done
  # shellcheck disable=SC2086
  run tools/compare.py "${ours[@]}" --baseline "${baselines[@]}" --metric "$metric" --seeds $seeds
}
write() {  # WHAT FOLDER...: the data
  run_job "$1" python -m denoiserep_ext "$@"
}
run() {  # TOOL ARGUMENT...: with the options given here, which override arguments
  local folder=work_dirs/quickstart_$task
  [[ $task != denoised ]] || folder=work_dirs/quickstart
  start_job python -W ignore::DeprecationWarning "$@" --work-dir "$folder" --jobs "$(nproc)" \
    "${options[@]}"
  watch_job :
}

case $task in
  denoised)
    write digits data/digits
    # Corruptions that work on images of 8 x 8 pixels; the last two are not fitted to.
    run tools/compare_denoised.py $digits/vit-tiny_1xb64_digits.py \
      $digits/resnet18-w16_1xb64_digits.py --corruptions gaussian_noise contrast jpeg_compression \
      --severity 3 --others impulse_noise pixelate --seeds 0 1 2
    ;;
  training)
    write digits data/digits
    compare mmpretrain/digits accuracy/top1 "0 1 2" vit-tiny_@1xb64_digits.py \
      resnet18-w16_@1xb64_digits.py
    ;;
  vmamba)
    write digits data/digits
    compare mmpretrain/digits accuracy/top1 "0 1 2" vmamba-d48_@1xb64_digits.py
    ;;
  detection)
    write scenes data/scenes --seed 0
    compare mmdet/scenes coco/bbox_mAP "0 1" mask-rcnn_r18-w16_fpn_@1xb8_scenes.py
    ;;
  segmentation)
    write scenes data/scenes --seed 0
    compare mmseg/scenes mIoU "0 1" fcn_r18-w16-d16_@1xb16_scenes.py
    ;;
  retrieval)
    write retrieval data/retrieval
    run tools/compare.py configs/fastreid/digits/osnet_x0-25_denoiserep-joint.yml \
      --baseline configs/fastreid/digits/osnet_x0-25.yml --metric mAP --seeds 0 1 2
    ;;
esac
