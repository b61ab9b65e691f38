#!/usr/bin/env bash
# The local way in one go: sets up .venv, makes a project, checks it, runs it.
#
#     ./quickstart.sh                 nothing at hand: the demo, and a project to fill
#     ./quickstart.sh my-pictures     a folder of pictures: a project for them, its labels to name
#     ./quickstart.sh                 again, once labels and key are there: runs, and goes on
#
# PROJECT names another folder than my-project, PYTHON another Python than python3.
# It stops at what is missing and says it; run it again. Nothing that was done is done twice.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$here/quickstart.sh" && exit ;; esac

project=${PROJECT:-my-project}
config=$project/pocketvlm.yaml

if [ -n "${1:-}" ] && [ ! -d "$1" ]; then
  echo "error: $1 is no folder: ./quickstart.sh FOLDER_OF_PICTURES" >&2
  exit 2
fi

make --silent -C "$here" .venv/.ready
pocketvlm=$here/.venv/bin/pocketvlm

fresh=
if [ ! -f "$config" ]; then
  "$pocketvlm" init "$project"
  fresh=yes
fi

if [ -n "${1:-}" ]; then
  pictures=$(cd "$1" && pwd -P)
  if [ ! -e "$project/pictures" ]; then
    ln -s "$pictures" "$project/pictures"
  elif [ "$(cd "$project/pictures" && pwd -P)" != "$pictures" ]; then
    echo "error: $project has pictures already: put yours there, or name another PROJECT" >&2
    exit 2
  fi
elif [ -n "$fresh" ]; then
  "$pocketvlm" demo --folder demo-workspace
  echo
  echo "That was the demo: open demo-workspace/report/report.html."
  echo "Next, your own: ./quickstart.sh FOLDER_OF_PICTURES"
  echo "Labels, question and teacher are in $config, the teacher's key belongs into $project/.env."
  exit
fi

if [ -n "$fresh" ]; then
  echo "Next: name your labels, the question and the teacher in $config,"
  echo "put the teacher's key into $project/.env (chmod 600), then ./quickstart.sh again."
  exit
fi

"$pocketvlm" doctor -c "$config"
exec "$pocketvlm" run -c "$config"
