#!/usr/bin/env bash
# Installs what is missing and runs the tests. Options are passed on to pytest.
#   bash tools/run_tests.sh                  one test of a kind, on the official stack: about 10 minutes
#   bash tools/run_tests.sh --all            all: every recipe, and more architectures of each host
#   bash tools/run_tests.sh --stack onedl    the same on the OneDL stack
#   DENOISEREP_FUZZ=long                     20 times as many drawn layers
#   DENOISEREP_TEST_DATA=FOLDER              real data and weights; tests that need it are skipped without
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
stack=official venv=.venv
if [[ ${1:-} == --stack ]]; then
  stack=${2:?--stack needs official or onedl}
  shift 2
  [[ $stack == official ]] || venv=.venv-$stack
fi
bash tools/install.sh --stack "$stack"
source "$venv/bin/activate"
exec python -m pytest -n "$(nproc)" --dist worksteal --durations=10 "$@"
