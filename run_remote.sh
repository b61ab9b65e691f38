#!/usr/bin/env bash
# The whole way in the foreground on the machine you are logged in to: checks, then runs.
#
#     ./run_remote.sh
#     mkdir -p logs && nohup ./run_remote.sh > logs/training.log 2>&1 &
#     NUM_EPOCHS=5 LORA_R=32 ./run_remote.sh
#
# PROJECT          the project's folder (my-project), with pocketvlm.yaml in it
# NUM_IMAGES       pictures in all, shared equally by the sources named in collect:
# MIN_CONFIDENCE   prepare.min_confidence
# BATCH_SIZE       train.batch_size; with GRAD_ACCUM, their product is train.effective_batch
# NUM_EPOCHS       train.epochs
# LEARNING_RATE    train.learning_rate
# LORA_R           train.rank; train.alpha is twice as much
#
# What is not set is as pocketvlm.yaml says. What is set has to be set the next time too, or written
# into pocketvlm.yaml: another setting is another training.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$here/run_remote.sh" && exit ;; esac

fail() {
  echo "error: $1" >&2
  exit 2
}

pocketvlm=$here/.venv/bin/pocketvlm
[ -x "$pocketvlm" ] || pocketvlm=$(command -v pocketvlm) ||
  fail "no pocketvlm here: run \`make -C $here .venv/.ready\`"

[ $# -eq 0 ] || fail "settings come from the environment: see ./run_remote.sh --help"
config=${PROJECT:-my-project}/pocketvlm.yaml
[ -f "$config" ] || fail "$config does not exist: run \`$pocketvlm init ${PROJECT:-my-project}\`"

whole='^[1-9][0-9]*$'
decimal='^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$'
number() { # a variable's name, what its value must look like
  [ -z "${!1:-}" ] || [[ ${!1} =~ $2 ]] || fail "$1=${!1} is no such number: see ./run_remote.sh --help"
}
for name in NUM_IMAGES BATCH_SIZE GRAD_ACCUM NUM_EPOCHS LORA_R; do number "$name" "$whole"; done
for name in MIN_CONFIDENCE LEARNING_RATE; do number "$name" "$decimal"; done

settings=(-c "$config")
set_to() { settings+=(--set "$1=$2"); }

if [ -n "${NUM_IMAGES:-}" ]; then
  sources=$(sed -nE 's/^ +(coco|unsplash|hub): *([^n #].*|#.*)?$/\1/p' "$config")
  count=$(wc -w <<< "$sources")
  [ "$count" -gt 0 ] ||
    fail "NUM_IMAGES: $config names no source in collect:, and a folder is taken as it is: unset it"
  for source in $sources; do
    set_to "collect.$source.pictures" $(((NUM_IMAGES + count - 1) / count))
  done
fi
[ -z "${MIN_CONFIDENCE:-}" ] || set_to prepare.min_confidence "$MIN_CONFIDENCE"
[ -z "${BATCH_SIZE:-}" ] || set_to train.batch_size "$BATCH_SIZE"
if [ -n "${GRAD_ACCUM:-}" ]; then
  [ -n "${BATCH_SIZE:-}" ] || fail "GRAD_ACCUM needs BATCH_SIZE: their product is what counts"
  set_to train.effective_batch $((BATCH_SIZE * GRAD_ACCUM))
fi
[ -z "${NUM_EPOCHS:-}" ] || set_to train.epochs "$NUM_EPOCHS"
[ -z "${LEARNING_RATE:-}" ] || set_to train.learning_rate "$LEARNING_RATE"
if [ -n "${LORA_R:-}" ]; then
  set_to train.rank "$LORA_R"
  set_to train.alpha $((2 * LORA_R))
fi

"$pocketvlm" doctor "${settings[@]}"
echo "pocketvlm run ${settings[*]}"
exec "$pocketvlm" run "${settings[@]}"
