#!/usr/bin/env bash
# A merged model's folder, from wherever, becomes the GGUF files for the phone:
#
#     ./convert_to_gguf.sh MERGED OUT [OPTIONS OF pocketvlm convert]
#     ./convert_to_gguf.sh merged gguf --set 'export.types=[Q8_0]' --set device.side=512
#
# MERGED holds config.json, *.safetensors and tokenizer.json. If it lies in a PocketVLM project, that
# project's settings count, otherwise the defaults: a bitmap of 256 pixels, and Q8_0, F16 and Q4_0.
# A model that was trained on another side needs `--set device.side=...`, or it sees other pictures
# than it was trained on.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$here/convert_to_gguf.sh" && exit ;; esac

fail() {
  echo "error: $1" >&2
  exit 2
}

pocketvlm=$here/.venv/bin/pocketvlm
[ -x "$pocketvlm" ] || pocketvlm=$(command -v pocketvlm) ||
  fail "no pocketvlm here: run \`make -C $here .venv/.ready\`"

[ $# -ge 2 ] || fail "two folders are needed: ./convert_to_gguf.sh MERGED OUT"
[ -f "$1/config.json" ] || fail "$1/config.json does not exist: name the folder of a merged model"
merged=$(cd "$1" && pwd -P)
out=$2
shift 2

# A workspace for a moment, on the disk where the files will lie.
mkdir -p "$out"
work=$(mktemp -d "$out/.pocketvlm.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ -f "$merged/../pocketvlm.yaml" ]; then
  cp "$merged/../pocketvlm.yaml" "$work/"
else
  said=$("$pocketvlm" init "$work" 2>&1) || fail "$said"
fi
ln -s "$merged" "$work/merged"
"$pocketvlm" convert -c "$work/pocketvlm.yaml" "$@"
mv -f "$work"/gguf/*.gguf "$out/"
