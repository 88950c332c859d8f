#!/usr/bin/env bash
# Installs everything into a virtual environment in this checkout. Run it again at any time: what is
# in place is left alone.
#   bash tools/install.sh                  official OpenMMLab stack on torch 2.5.1   -> .venv
#   bash tools/install.sh --stack onedl    OneDL fork on torch 2.8                   -> .venv-onedl
# PYTHON chooses the interpreter (3.11 is what the pinned versions were tested with).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
stack=official
while (($#)); do
  case $1 in
    --stack) stack=${2:?--stack needs official or onedl}; shift 2 ;;
    -h|--help) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
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
say() { printf '\n== [%4ds] %s\n' "$SECONDS" "$*"; }

command -v "$python" >/dev/null || {
  echo "install: $python not found. Install Python 3.11 or set PYTHON to it." >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
  echo "install: $("$python" --version) found, but the pinned versions are for Python 3.11." >&2; exit 1; }
command -v g++ >/dev/null || { echo 'install: g++ not found: mmcv is compiled here.' >&2; exit 1; }

stamp=$venv/installed
wanted=$(cat "$constraints" setup.py tools/install.sh | cksum)
if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
  echo "install: $venv is complete ($stack stack)"
  exit 0
fi

say "virtual environment $venv ($("$python" --version))"
[[ -x $venv/bin/python ]] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

say 'torch'
pip install -q "${build_tools[@]}"
pip install -q -c "$constraints" torch torchvision numpy

if ! "$venv/bin/python" -c 'import mmcv.ops' 2>/dev/null; then
  say "$mmcv with compiled ops: about 10 minutes on 2 cores the first time, then pip has the wheel"
  # Without --no-build-isolation it would build against no torch at all, silently without ops.
  set -m  # in a process group of its own, which is ended as a whole where this script is
  MMCV_WITH_OPS=1 pip install -q -c "$constraints" --no-build-isolation "$mmcv" &
  build=$!
  set +m
  trap 'kill -- -$build 2>/dev/null' EXIT
  while sleep 30; do
    kill -0 $build 2>/dev/null || break
    say "still building $mmcv"
  done
  wait $build
  trap - EXIT
fi
"$venv/bin/python" -c 'import mmcv.ops; print("mmcv", mmcv.__version__, "with ops")' || {
  echo "install: $mmcv was built without ops. Remove $venv and run this again; the build needs g++," \
       'torch installed first, and MMCV_WITH_OPS=1.' >&2
  exit 1
}

say 'OpenMMLab toolboxes and tools'
pip install -q -c "$constraints" "${hosts[@]}" \
  imagecorruptions-imaug scikit-learn matplotlib tqdm pillow \
  pytest pytest-xdist hypothesis ruff timm tensorboard \
  sphinx furo myst-parser sphinx-copybutton sphinx-design nbclient nbformat ipykernel onnx

say 'FastReID'
# Its wheel asks for torch 1.13.1; denoiserep_ext.reid makes it run on present ones.
pip install -q -c "$constraints" faiss-cpu yacs tabulate termcolor h5py imageio gdown
pip install -q --no-deps -c "$constraints" fastreid

say 'denoiserep_ext (editable)'
pip install -q --no-deps --no-build-isolation -e .
# What a wheel carries as files, a checkout offers as links: mim train denoiserep_ext NAME.
mkdir -p denoiserep_ext/.mim
for name in tools configs model-index.yml; do ln -sfn "../../$name" "denoiserep_ext/.mim/$name"; done

"$venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version
import mmcv.ops, mmdet, mmengine, mmpretrain, mmseg, torch
import denoiserep_ext, denoiserep_ext.reid
print(f'denoiserep_ext {denoiserep_ext.__version__}: torch {torch.__version__}, mmengine '
      f'{mmengine.__version__}, mmcv {mmcv.__version__}, mmpretrain {mmpretrain.__version__}, '
      f'mmdet {mmdet.__version__}, mmseg {mmseg.__version__}, fastreid {version("fastreid")}')
PYTHON
echo "$wanted" >"$stamp"
say "done: source $venv/bin/activate"
