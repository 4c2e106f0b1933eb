#!/usr/bin/env bash
# Makes the Debian package of binaries that are built already:
#
#   packaging/build-deb.sh DIR        DIR holds luytred and luytre
#
# `make deb` calls it. The package and what went into it lie beside DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly from="${1:?name the directory of luytred and luytre}"
target="$(cd "$from/.." && pwd)/package"
stage="$target/release"

if ! cargo deb --version >/dev/null 2>&1; then
    echo "cargo-deb is not here; installing it, which takes some minutes"
    cargo install cargo-deb --locked
fi

rm -rf "$target"
mkdir -p "$stage/man" "$stage/completions"
for program in luytred luytre; do
    strip -o "$stage/$program" "$from/$program"
    "$stage/$program" man --to "$stage/man" 2>/dev/null
    "$stage/$program" completions bash >"$stage/completions/$program"
    "$stage/$program" completions zsh >"$stage/completions/_$program"
    "$stage/$program" completions fish >"$stage/completions/$program.fish"
done
gzip -9n "$stage"/man/*
gzip -9nc CHANGELOG.md >"$stage/changelog.gz"
cargo tree --locked -e normal --prefix none --format '{p} {l}' | sed 's/ (proc-macro)//; s/ (\*)$//' \
    | grep -v '^luytre ' | sort -u >"$stage/third-party.txt"

version=$(cargo pkgid --locked | sed 's/.*[#@]//')
day=$(git log -1 --format=%cD 2>/dev/null || date -R)
printf 'luytre (%s-1) unstable; urgency=medium\n\n  * Built from source; CHANGELOG.md tells what changed.\n\n -- %s  %s\n' \
    "$version" "$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)" "$day" \
    | gzip -9n >"$stage/changelog.Debian.gz"

CARGO_TARGET_DIR="$target" cargo deb --locked --no-build --no-strip --quiet --output "$target"
echo "Made: $(ls "$target"/*.deb)"
