#!/usr/bin/env bash
# Shows that the auditor bites: plants one bug after another (mutants/*.patch) into a copy of the engine, runs the
# simulation, and says by how many seeds each is caught. Fails when one is not.
#
#   tests/simulation/mutants.sh [seeds] [mutant..]
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
seeds="${1:-1000}"
shift || true
copy="${CARGO_TARGET_DIR:-$root/target}/mutants"
export CARGO_TARGET_DIR="$copy/target"
# Optimised, for many seeds; and so without assertions of the engine's own: the auditor is to see it.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=2

rm -rf "$copy/engine" "$copy/tests"
mkdir -p "$copy/tests"
cp -r "$root/engine" "$copy/engine"
cp -r "$root/tests/simulation" "$copy/tests/simulation"
cp "$root/Cargo.lock" "$root/rust-toolchain.toml" "$copy/"
# The workspace's settings, with the engine as its only member.
sed -e 's/^members = .*/members = ["engine"]/' -e '/^default-members/d' -e '/^\[package\]/,$d' "$root/Cargo.toml" >"$copy/Cargo.toml"
cd "$copy"

simulate() {
    cargo test -q --release -p engine --test simulation --no-run 2>"$copy/build.log" || { cat "$copy/build.log"; exit 1; }
    KOKORO_SIMULATION_SEEDS="$seeds" timeout 300 cargo test -q --release -p engine --test simulation nothing_that -- --nocapture \
        >"$copy/run.log" 2>&1 || true
    sed -n 's/.* faults, \([0-9]*\) violations/\1/p' "$copy/run.log"
}

healthy="$(simulate)"
[ "$healthy" = 0 ] || { echo "the engine itself fails: see $copy/run.log"; exit 1; }
missed=0
printf '%-45s %s\n' 'planted bug' "caught by, of $seeds seeds"
for patch in "$root"/tests/simulation/mutants/*.patch; do
    name="$(basename "$patch" .patch)"
    [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
    patch -s -p1 <"$patch"
    caught="$(simulate)"
    patch -s -R -p1 <"$patch"
    # Without a last line it panicked or hung, which is caught as well.
    printf '%-45s %s\n' "$name" "${caught:-it does not end well}"
    [ "${caught:-1}" != 0 ] || missed=$((missed + 1))
done
[ "$missed" = 0 ] || { echo "$missed not caught"; exit 1; }
