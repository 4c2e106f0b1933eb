#!/usr/bin/env bash
# Proves the Debian package in a fresh system, as root:
#
#   packaging/check-deb.sh FILE.deb [SUITE]      SUITE is bookworm if not said
#
#   BASE=DIR    a root that debootstrap made, with what the package depends on,
#               to copy instead of making one
#
# Installs it into a debootstrap root, goes through the first installation of
# docs/operating.md, runs the command lines of the unit files as their user with
# their privileges, upgrades, removes and purges. Everything happens in
# namespaces of its own and in a directory that is removed at the end.
set -euo pipefail

say() { printf '  %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

if [ "${1:-}" != --inside ]; then
    deb="${1:?name the package}" suite="${2:-bookworm}"
    [ "$(id -u)" -eq 0 ] || fail "only root can make and enter a root of its own"
    command -v debootstrap >/dev/null || [ -n "${BASE:-}" ] || fail "debootstrap is not here: apt-get install debootstrap"
    root=$(mktemp -d /tmp/luytre-deb.XXXXXX)
    trap 'rm -rf --one-file-system "$root"' EXIT
    needs=$(dpkg-deb -f "$deb" Depends | sed 's/ *([^)]*)//g; s/ //g')
    if [ -n "${BASE:-}" ]; then
        cp -a "$BASE/." "$root"
    else
        say "debootstrap $suite with $needs"
        debootstrap --variant=minbase --include="$needs" "$suite" "$root" >"$root.log" 2>&1 \
            || { tail -n 20 "$root.log" >&2; rm -f "$root.log"; fail "debootstrap"; }
        rm -f "$root.log"
    fi
    chmod 0755 "$root"
    cp "$deb" "$root/luytre.deb"
    # No process and no mount outlives this.
    unshare --mount --mount-proc --pid --net --fork --kill-child "$0" --inside "$root"
    exit
fi

readonly root=$2 unit=/usr/lib/systemd/system/luytred.service
readonly hub=hub.example.vn config=/etc/luytre/hub.toml store=/var/lib/luytre/store
readonly police=spiffe://$hub/org/ca-hanoi/system/soc operator=spiffe://$hub/org/ubnd-hanoi/user/lan
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero urandom random; do
    case $device in null) minor=3 ;; zero) minor=5 ;; random) minor=8 ;; urandom) minor=9 ;; esac
    mknod -m 666 "$root/dev/$device" c 1 "$minor"
done
ip link set lo up
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin

inside() { chroot "$root" "$@"; }
# A setting of a unit file that is there once.
setting() { sed -n "s/^$1=//p" "$root$2"; }
# As the unit's user, without any privilege, with its limits.
as_unit() (
    umask "$(setting UMask "$unit")"
    ulimit -n "$(setting LimitNOFILE "$unit")" 2>/dev/null || true # not every container lets root raise it
    exec chroot "$root" setpriv --reuid="$(setting User "$unit")" --regid="$(setting Group "$unit")" --init-groups \
        --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
)
# Owner, group and mode of a path.
is() { local has; has=$(inside stat -c '%U:%G %a' "$1"); [ "$has" = "$2" ] || fail "$1 is $has, not $2"; }

say "install"
inside dpkg -i /luytre.deb >/tmp/luytre-dpkg.log 2>&1 || { cat /tmp/luytre-dpkg.log >&2; fail "dpkg -i"; }
rm -f /tmp/luytre-dpkg.log
is /var/lib/luytre "luytre:luytre 700"
is /var/backups/luytre "luytre:luytre 700"
is /etc/luytre "root:luytre 750"
is "$config" "root:root 644"
inside luytre --version | grep -q '^luytre [0-9]' || fail "luytre --version"
inside luytred --version | grep -q '^luytred [0-9]' || fail "luytred --version"
for page in man1/luytre.1 man1/luytre-publish.1 man8/luytred.8 man8/luytred-serve.8; do
    gzip -dc "$root/usr/share/man/$page.gz" | grep -q '^\.SH EXAMPLES' || fail "the manual page $page"
done
bash -n "$root/usr/share/bash-completion/completions/luytre" || fail "the completions for bash"
for file in copyright changelog.gz third-party.txt docs/quick-start.md docs/vi/quick-start.md; do
    [ -s "$root/usr/share/doc/luytre/$file" ] || fail "no /usr/share/doc/luytre/$file"
done
[ -z "$(find "$root/etc/systemd/system" -name 'luytred*' 2>/dev/null)" ] || fail "an unconfigured hub would start"
[ -z "$(pgrep -x luytred || true)" ] || fail "an unconfigured hub runs"
code=0; told=$(as_unit luytred check-config --config "$config" 2>&1) || code=$?
[ "$code" -eq 78 ] && grep -q 'grpc.cert: ' <<<"$told" || fail "check-config of an unconfigured hub ended with $code: $told"

say "configure, as docs/operating.md tells"
inside luytre pki init --dir /root/pki --trust-domain "$hub" 2>/dev/null
inside luytre pki issue --dir /root/pki server --dns localhost --ip 127.0.0.1 2>/dev/null
inside luytre pki issue --dir /root/pki client --id "$police" --name soc 2>/dev/null
inside sh -c 'cd /root/pki && install -o root -g luytre -m 0640 server.pem client-ca.pem client-crl.pem /etc/luytre/ &&
    install -o luytre -g luytre -m 0600 server.key /etc/luytre/'
cat >"$root/etc/luytre/roster.json" <<JSON
{ "organisations": [
    { "slug": "ubnd-hanoi", "kind": "city-government", "names": [{ "vi": "Ủy ban nhân dân Thành phố Hà Nội" }] },
    { "slug": "ca-hanoi", "kind": "police", "parent": "ubnd-hanoi", "names": [{ "vi": "Công an Thành phố Hà Nội" }] } ],
  "duties": [],
  "principals": [{ "id": "$police", "roles": ["publisher", "subscriber", "analyst"] }] }
JSON
as_unit luytred init --data "$store" --roster /etc/luytre/roster.json --trust-domain "$hub" --operator "$operator" 2>/dev/null \
    || fail "luytred init"
as_unit luytred check-config --config "$config" || fail "luytred check-config"

say "run $(setting ExecStart "$unit") as $(setting User "$unit")"
read -ra command <<<"$(setting ExecStart "$unit")"
as_unit "${command[@]}" 2>"$root/hub.log" &
started=$!
until as_unit luytred ready --config "$config" >/dev/null 2>&1; do
    kill -0 "$started" 2>/dev/null || { cat "$root/hub.log" >&2; fail "the hub did not start"; }
    sleep 0.2
done
pid=$(pgrep -x luytred)
[ "$(stat -c %u "/proc/$pid")" -eq "$(inside id -u luytre)" ] || fail "the hub does not run as luytre"
grep -q '^CapEff:\s*0*$' "/proc/$pid/status" || fail "the hub has privileges"
printf 'hub = "127.0.0.1:7443"\nca = "pki/server-ca.pem"\ncert = "pki/soc.pem"\nkey = "pki/soc.key"\n' >"$root/root/soc.toml"
inside luytre --profile /root/soc.toml whoami
echo 198.51.100.7 | inside luytre --profile /root/soc.toml publish - --tlp green --quiet || fail "luytre publish"
inside luytre --profile /root/soc.toml lookup 198.51.100.7 --format plain | grep -qx 198.51.100.7 || fail "luytre lookup"
backup=$(setting ExecStart /usr/lib/systemd/system/luytred-backup.service | sed 's/%%/%/g')
eval "as_unit $backup" 2>/dev/null || fail "the backup's command line"
as_unit sh -c 'luytred verify --data /var/backups/luytre/*' >/dev/null 2>&1 || fail "the backup is not clean"
kill -HUP "$pid"; kill -TERM "$pid"
code=0; wait "$started" || code=$?
[ "$code" -eq 0 ] || { cat "$root/hub.log" >&2; fail "the hub ended with $code"; }
as_unit luytred verify --data "$store" >/dev/null 2>&1 || fail "the store is not clean"

say "upgrade, remove, purge"
echo '# ours' >>"$root$config"
inside dpkg -i /luytre.deb >/dev/null 2>&1 || fail "dpkg -i over itself"
grep -q '^# ours' "$root$config" || fail "an upgrade overwrites the configuration"
is /var/lib/luytre "luytre:luytre 700"
as_unit luytred check-config --config "$config" 2>/dev/null || fail "check-config after an upgrade"
inside dpkg -r luytre >/dev/null 2>&1 || fail "dpkg -r"
[ -e "$root$config" ] && [ ! -e "$root/usr/bin/luytred" ] || fail "removing leaves programs or takes the configuration"
inside dpkg -P luytre >/dev/null 2>&1 || fail "dpkg -P"
[ -d "$root$store" ] && [ -s "$root/etc/luytre/server.key" ] || fail "purging takes the store or the keys"
inside dpkg -i /luytre.deb >/dev/null 2>&1 || fail "dpkg -i again"
as_unit luytred check-config --config "$config" 2>/dev/null || fail "the store is not taken up again"
LUYTRE_PURGE_DATA=yes inside dpkg -P luytre >/dev/null 2>&1 || fail "dpkg -P of everything"
[ ! -e "$root/var/lib/luytre" ] && [ ! -e "$root/etc/luytre" ] || fail "what was asked to go stays"
[ -n "$(ls "$root/var/backups/luytre")" ] || fail "purging takes the backups"
say "all of it holds"
