#!/usr/bin/env bash
# Makes the Debian package of binaries that are built already:
#
#   packaging/build-deb.sh DIR            DIR holds luytred and luytre
#   packaging/build-deb.sh DIR --pages    only manual pages and completions
#
# `make deb` and `make man` call it. What it makes lies in package/, beside DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly from="${1:?name the directory of luytred and luytre}" only="${2:-}"
target="$(cd "$from/.." && pwd)/package"
stage="$target/release"

rm -rf "$target"
mkdir -p "$stage/man" "$stage/completions"
for program in luytred luytre; do
    strip -o "$stage/$program" "$from/$program"
    "$stage/$program" man --to "$stage/man" 2>/dev/null
    "$stage/$program" completions bash >"$stage/completions/$program"
    "$stage/$program" completions zsh >"$stage/completions/_$program"
    "$stage/$program" completions fish >"$stage/completions/$program.fish"
done
if [ "$only" = --pages ]; then
    echo "Made: $stage/man and $stage/completions"
    exit
fi

if ! cargo deb --version >/dev/null 2>&1; then
    echo "cargo-deb is not here; installing it takes some minutes"
    cargo install cargo-deb --locked
fi
gzip -9n "$stage"/man/*
gzip -9nc CHANGELOG.md >"$stage/changelog.gz"
cargo tree --locked -e normal --prefix none --format '{p} {l}' | sed 's/ (proc-macro)//; s/ (\*)$//' \
    | grep -v '^luytre ' | sort -u >"$stage/third-party.txt"

version=$(cargo pkgid --locked | sed 's/.*[#@]//')
day=$(git log -1 --format=%cD 2>/dev/null || date -R)
printf 'luytre (%s-1) unstable; urgency=medium\n\n  * Built from source; changelog.gz tells what changed.\n\n -- %s  %s\n' \
    "$version" "$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)" "$day" | gzip -9n >"$stage/changelog.Debian.gz"

CARGO_TARGET_DIR="$target" cargo deb --locked --no-build --no-strip --quiet --output "$target" >/dev/null
echo "Made: $(ls "$target"/*.deb)"
