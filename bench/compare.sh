#!/usr/bin/env bash
# bench/compare.sh <git ref> [rounds]: compares the speed of this working tree with that of another commit. Both are built
# and run in fresh processes in alternating order; the medians are compared. The cases are in bench/compare.mjs;
# MODEL=folder or name selects another model than the ViT-B/32 with random weights.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: bench/compare.sh <git ref> [rounds]" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
ref=$(git -C "$root" rev-parse --short "$1^{commit}")
rounds=${2:-7}
there=${TMPDIR:-/tmp}/clip-native-compare-$ref
if [ ! -d "$there" ]; then git -C "$root" worktree add --detach "$there" "$ref" >&2; fi
[ -e "$there/node_modules" ] || ln -s "$root/node_modules" "$there/node_modules"
for tree in "$there" "$root"; do
  (cd "$tree" && npm run --silent build:native && npm run --silent build:lib) >&2
done
model=${MODEL:-$(node "$root/dist/bench/write-model.js" ViT-B/32)}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for ((i = 0; i < rounds; i++)); do
  order=("$there $ref" "$root here")
  if ((i % 2)); then order=("$root here" "$there $ref"); fi
  for one in "${order[@]}"; do
    # shellcheck disable=SC2086
    set -- $one
    node "$root/bench/compare.mjs" run "$1" "$2" "$model" >> "$log"
  done
  echo "round $((i + 1)) of $rounds, load $(cut -d' ' -f1 /proc/loadavg 2> /dev/null || echo '?')" >&2
done
node "$root/bench/compare.mjs" report "$ref" < "$log"
echo "Worktree left for the next run: git worktree remove --force $there" >&2
