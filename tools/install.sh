#!/usr/bin/env bash
# Installs everything into a virtual environment in this checkout. Run it again at any time: what is
# in place is left alone.
#   bash tools/install.sh                  official OpenMMLab stack on torch 2.5.1   -> .venv
#   bash tools/install.sh --stack onedl    OneDL fork on torch 2.8                   -> .venv-onedl
# PYTHON=FILE chooses the interpreter (3.11 is what the pinned versions were tested with).
# MMCV_WHEEL=FILE_OR_FOLDER names an mmcv that is compiled already, with ops and for this torch; a wheel
# in pip's cache is found without it. Otherwise mmcv is compiled: about 8 minutes on 2 cores, once.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/jobs.sh
stack=official
while (($#)); do
  case $1 in
    --stack) stack=${2:?--stack needs official or onedl}; shift 2 ;;
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "install: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
done
# setuptools >= 81 lacks pkg_resources, which mmcv's setup.py imports.
build_tools=(setuptools==80.9.0 wheel==0.48.0 ninja==1.13.2 packaging==24.2)
case $stack in
  official)
    venv=.venv mmcv=mmcv
    hosts=(mmengine mmpretrain mmdet mmsegmentation openmim ftfy regex) ;;
  onedl)
    venv=.venv-onedl mmcv=onedl-mmcv
    hosts=(onedl-mmengine onedl-mmpretrain onedl-mmdetection onedl-mmsegmentation onedl-mim ftfy regex) ;;
  *) echo "install: unknown stack '$stack': choose official or onedl" >&2; exit 2 ;;
esac
constraints=tools/constraints/$stack.txt
python=${PYTHON:-python3.11}
wheel=${MMCV_WHEEL:-}
if [[ -d $wheel ]]; then  # the newest in it
  wheel=$(find "$wheel" -name "${mmcv//-/_}-*.whl" -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2-)
  [[ -n $wheel ]] || { echo "install: MMCV_WHEEL: no wheel of $mmcv in $MMCV_WHEEL" >&2; exit 2; }
elif [[ -n $wheel && ! -f $wheel ]]; then
  echo "install: MMCV_WHEEL: there is no $wheel" >&2
  exit 2
fi

command -v "$python" >/dev/null || {
  echo "install: $python not found. Install Python 3.11 or set PYTHON to it." >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
  echo "install: $("$python" --version) found, but the pinned versions are for Python 3.11." >&2; exit 1; }
[[ -n $wheel ]] || command -v g++ >/dev/null || {
  echo 'install: g++ not found: mmcv is compiled here (or give MMCV_WHEEL=FILE).' >&2; exit 1; }

stamp=$venv/installed
wanted=$(cat "$constraints" setup.py tools/install.sh | cksum)
if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
  echo "install: $venv is complete ($stack stack)"
  exit 0
fi

end_jobs_on_interrupt install 'run it again: what is in place is left alone.'
say "virtual environment $venv ($("$python" --version))"
[[ -x $venv/bin/pip ]] || run_job 'virtual environment' "$python" -m venv --clear "$venv"
pip_install() {  # WHAT ARGUMENT...
  local what=$1
  shift
  run_job "$what" "$venv/bin/python" -m pip --disable-pip-version-check install -q "$@"
}

say 'torch'
pip_install 'build tools' "${build_tools[@]}"
pip_install torch -c "$constraints" torch torchvision numpy

build=$venv/build compiling=0  # where pip unpacks mmcv; when ninja began
progress() {  # what ninja has compiled of what it plans to
  local plan total objects
  # Files come and go while it is compiled: what find does not see any more is no error.
  plan=$(find "$build" -name build.ninja -print -quit 2>/dev/null || true)
  [[ -n $plan ]] || { say "$mmcv: fetching and unpacking"; return; }
  ((compiling)) || compiling=$SECONDS
  total=$(grep -c '^build .*\.o: ' "$plan" || true)
  objects=$({ find "$build" -name '*.o' 2>/dev/null || true; } | wc -l)
  if ((objects == 0 || SECONDS == compiling)); then
    say "$mmcv: $objects of $total object files"
  elif ((objects < total)); then
    say "$mmcv: $objects of $total object files, about" \
      "$(((SECONDS - compiling) * (total - objects) / objects / 60 + 1)) minutes left"
  else
    say "$mmcv: $total object files, linking"
  fi
}

check_ops='import mmcv.ops; print("mmcv", mmcv.__version__, "with ops")'
if ! run_job "$mmcv" "$venv/bin/python" -c "$check_ops" &>/dev/null; then
  if [[ -n $wheel ]]; then
    say "$mmcv from $wheel"
    pip_install "$mmcv" -c "$constraints" "$wheel"
  else
    say "$mmcv with compiled ops: about 8 minutes on 2 cores the first time, then pip has the wheel"
    rm -rf "$build"
    mkdir -p "$build"
    # Without --no-build-isolation it would build against no torch at all, silently without ops.
    # -g0: Python's own flags ask for debug information, which takes two thirds of the time.
    start_job env TMPDIR="$PWD/$build" MMCV_WITH_OPS=1 CFLAGS="${CFLAGS:-} -g0" "$venv/bin/python" -m pip \
      --disable-pip-version-check install -q -c "$constraints" --no-build-isolation "$mmcv"
    watch_job progress
    rm -rf "$build"
  fi
  run_job "$mmcv" "$venv/bin/python" -c "$check_ops" || {
    echo "install: this $mmcv has no ops that load with this torch. Remove $venv and run this again;" \
         "${wheel:+or leave out MMCV_WHEEL; }compiling needs g++." >&2
    exit 1
  }
fi

say 'OpenMMLab toolboxes and tools'
pip_install 'toolboxes' -c "$constraints" "${hosts[@]}" \
  imagecorruptions-imaug scikit-learn matplotlib tqdm pillow \
  pytest pytest-xdist hypothesis ruff timm tensorboard \
  sphinx furo myst-parser sphinx-copybutton sphinx-design nbclient nbformat ipykernel onnx

say 'FastReID'
# Its wheel asks for torch 1.13.1; denoiserep_ext.reid makes it run on present ones.
pip_install FastReID -c "$constraints" faiss-cpu yacs tabulate termcolor h5py imageio gdown
pip_install FastReID --no-deps -c "$constraints" fastreid

say 'denoiserep_ext (editable)'
pip_install denoiserep_ext --no-deps --no-build-isolation -e .
# What a wheel carries as files, a checkout offers as links: mim train denoiserep_ext NAME.
mkdir -p denoiserep_ext/.mim
for name in tools configs model-index.yml; do ln -sfn "../../$name" "denoiserep_ext/.mim/$name"; done

check=$(cat <<'PYTHON'
from importlib.metadata import version
import mmcv.ops, mmdet, mmengine, mmpretrain, mmseg, torch
import denoiserep_ext, denoiserep_ext.reid
print(f'denoiserep_ext {denoiserep_ext.__version__}: torch {torch.__version__}, mmengine '
      f'{mmengine.__version__}, mmcv {mmcv.__version__}, mmpretrain {mmpretrain.__version__}, '
      f'mmdet {mmdet.__version__}, mmseg {mmseg.__version__}, fastreid {version("fastreid")}')
PYTHON
)
run_job 'a look at the versions' "$venv/bin/python" -W ignore -c "$check"
echo "$wanted" >"$stamp"
say "done: source $venv/bin/activate"
