# shellcheck shell=bash
# Sourced by other scripts: long programs with a sign of life, and an end to all of it on Ctrl-C.
job='' next=0 every=${SIGN_OF_LIFE:-30}

say() { printf '\n== [%4ds] %s\n' "$SECONDS" "$*"; }

# COMMAND...: run it in a process group of its own, which is ended as a whole where the script is.
start_job() {
  set -m
  "$@" </dev/null &
  job=$!
  set +m
  next=$((SECONDS + every))
}

# COMMAND...: wait for the job; every half minute COMMAND prints a sign of life. Its status.
watch_job() {
  local status=0
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.2
    ((SECONDS < next)) || { "$@"; next=$((SECONDS + every)); }
  done
  wait "$job" || status=$?
  job=''
  return "$status"
}

# WHAT COMMAND...: both.
run_job() {
  local what=$1
  shift
  start_job "$@"
  watch_job say "still at it: $what"
}

# NAME HOW: on Ctrl-C, kill or a closed terminal end the job and say how to go on.
end_jobs_on_interrupt() {
  local name=$1 how=$2
  # shellcheck disable=SC2064
  trap "end_job; printf '\n%s: interrupted; %s\n' ${name@Q} ${how@Q} >&2; exit 130" INT TERM HUP
  trap end_job EXIT
}

end_job() {
  [[ -z $job ]] || { kill -TERM -- "-$job"; wait "$job"; } 2>/dev/null || true
  job=''
}
