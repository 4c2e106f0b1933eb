#!/usr/bin/env bash
# The hub at work, on this machine alone, with throw-away certificates:
#
#   demo/run.sh          publish, subscribe, kill -9, resume, revoke, embargo, guard, rotate, and check
#   demo/run.sh serve    a hub with the same organisations, until Ctrl-C
#
#   AS_OF=2019-12-10     the organisations of that day instead of today's
#   DATA=DIR             feeds to publish instead of ../shared/data/threat/feeds
#   CARGO_TARGET_DIR     where the binaries are built
set -euo pipefail
cd "$(dirname "$0")/.."

# Vietnamese names are counted in characters; sort and comm agree.
export LC_ALL=C.UTF-8
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/luytre/target}"
readonly LUYTRED="$CARGO_TARGET_DIR/debug/luytred" LUYTRE="$CARGO_TARGET_DIR/debug/luytre"
readonly DOMAIN=luytre.example
readonly AS_OF="${AS_OF:-}"
readonly PATIENCE=120 # seconds that any one step may take
authorities= # whether the hub has authorities of its own
readonly embargoed=198.51.100.23 shared=cdn.noi-dung-chung.example
readonly further=4 # records that tell of these, and one more
as_of=()
[ -z "$AS_OF" ] || as_of=(--as-of "$AS_OF")

run="$PWD/demo/run/demo"
hub_pid=
started=() # processes of ours that may still run

bold() { if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then printf '\033[1m%s\033[0m\n' "$*"; else printf '%s\n' "$*"; fi; }
say() { printf '  %s\n' "$*"; }
now() { printf '%s' "${EPOCHREALTIME/[.,]/}"; } # microseconds
since() { awk -v us="$(($(now) - $1))" 'BEGIN { printf "%.2f", us / 1e6 }'; }
rate() { awk -v n="$1" -v s="$2" 'BEGIN { printf "%d", (s > 0) ? n / s : n }'; }

fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    [ ! -s "$run/hub.log" ] || { echo "The hub's last words ($run/hub.log):" >&2; tail -n 15 "$run/hub.log" >&2; }
    exit 1
}

tidy() {
    local pid
    [ ! -d "$run" ] || touch "$run/killed"
    for pid in ${started[@]+"${started[@]}"} $hub_pid; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
}
trap tidy EXIT
trap 'exit 130' INT TERM

# Waits until a command succeeds; says what it waited for if it never does.
until_true() {
    local what=$1 deadline=$((SECONDS + PATIENCE))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "waited $PATIENCE s for $what"
        sleep 0.02
    done
}

# ---- who takes part -------------------------------------------------------

choose_organisations() {
    if [ -n "$AS_OF" ] && [[ "$AS_OF" < 2025-03-01 ]]; then
        department=so-tttt unit=ubnd-dong-da ministry=bo-tttt centre=vncert
    elif [ -n "$AS_OF" ] && [[ "$AS_OF" < 2025-07-01 ]]; then
        department=so-khcn-2025 unit=ubnd-dong-da ministry=bo-quoc-phong centre=ttanm-qg
    else
        department=so-khcn-2025 unit=ubnd-p-hoan-kiem ministry=bo-quoc-phong centre=ttanm-qg
    fi
    police=ca-hanoi owner_of_hub=ubnd-hanoi
    operator="spiffe://$DOMAIN/org/$owner_of_hub/user/van-hanh"
}

# The short name of an organisation.
short() {
    awk -v slug="\"slug\": \"$1\"" 'index($0, slug) { found = 1 }
        found && match($0, /"short": "[^"]*"/) { print substr($0, RSTART + 10, RLENGTH - 11); exit }' demo/roster.json
}

# ---- what is published ----------------------------------------------------

# One value a line: no comments, no further columns, none twice.
plain() { sed -e 's/#.*//' -e 's/\t.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$@" | awk -v embargoed="$embargoed" -v shared="$shared" '$0 != embargoed && $0 != shared && !seen[$0]++'; }

choose_lists() {
    local feeds="${DATA:-../shared/data/threat/feeds}" first second
    first="$feeds/chongluadao-vn/urls.half.txt"
    second="$feeds/ipsum/ipsum.head20000.txt"
    if [ -r "$first" ] && [ -r "$second" ]; then
        plain "$first" >"$run/department.txt"
        plain "$second" >"$run/police.txt"
        data="real lists: phishing hosts of chongluadao.vn, addresses of ipsum ($feeds)"
    elif [ -n "${DATA:-}" ]; then
        # Somebody's own directory: its first text file, and all the others.
        local files=("$DATA"/*.txt)
        [ -r "${files[0]}" ] || fail "there is no .txt file in DATA=$DATA"
        plain "${files[0]}" >"$run/department.txt"
        if [ "${#files[@]}" -gt 1 ]; then plain "${files[@]:1}" >"$run/police.txt"; else cp "$run/department.txt" "$run/police.txt"; fi
        data="the lists in $DATA"
        [ "$(wc -l <"$run/police.txt")" -ge 2 ] || fail "the lists in DATA=$DATA are too short to be killed in the middle"
    else
        plain demo/sample/department.txt >"$run/department.txt"
        plain demo/sample/police.txt >"$run/police.txt"
        data="DỮ LIỆU MINH HỌA · SAMPLE DATA made for this demonstration (documentation ranges)"
    fi
}

banner() {
    bold "LŨY TRE · trung tâm chia sẻ thông tin an ninh mạng · cyber-threat information sharing"
    say "Dữ liệu · data: $data"
    say "Ngày · as of:   ${AS_OF:-hôm nay, today ($(date +%F))}"
}

# ---- the hub --------------------------------------------------------------

build() {
    bold "Building"
    if ! compgen -G "$CARGO_TARGET_DIR/debug/build/librocksdb-sys-*/out/librocksdb.a" >/dev/null; then
        say "The first build compiles RocksDB: about 17 minutes on two cores, once. It stays in"
        say "$CARGO_TARGET_DIR for every clone of this project."
    fi
    local begun
    begun=$(now)
    cargo build --locked --bins
    say "built in $(since "$begun") s"
}

make_certificates() {
    local pki="$run/pki" org id
    "$LUYTRE" pki init --dir "$pki" --trust-domain "$DOMAIN" 2>>"$run/pki.log"
    "$LUYTRE" pki issue --dir "$pki" server --ip 127.0.0.1 --dns localhost 2>>"$run/pki.log"
    for org in "$department" "$police" "$unit" "$ministry" "$centre" "$owner_of_hub"; do
        case "$org" in
            "$centre") id="user/chuyen-vien" ;;
            "$owner_of_hub") id="user/van-hanh" ;;
            *) id="system/soc" ;;
        esac
        "$LUYTRE" pki issue --dir "$pki" client --id "spiffe://$DOMAIN/org/$org/$id" --name "$org" --days 2 2>>"$run/pki.log"
    done
    "$LUYTRE" pki issue --dir "$pki" client --id "spiffe://$DOMAIN/org/$department/user/chuyen-vien" --name officer --days 2 2>>"$run/pki.log"
}

# What signs is held by a process of its own; its keys are encrypted.
make_authorities() {
    authorities=1
    (umask 077 && head -c 18 /dev/urandom | base64 >"$run/passphrase")
    "$LUYTRE" pki init --dir "$run/ca" --trust-domain "$DOMAIN" --passphrase-file "$run/passphrase" 2>>"$run/pki.log"
    "$LUYTRE" pki export-signer --dir "$run/ca" --to "$run/keys" 2>>"$run/pki.log"
    cat >"$run/signer.toml" <<TOML
trust_domain = "$DOMAIN"
server_names = ["localhost", "127.0.0.1", "canary.localhost"]
keys = "keys"
state = "signer"
socket = "signer.sock"
TOML
    "$LUYTRED" signer --config "$run/signer.toml" --passphrase-file "$run/passphrase" >>"$run/signer.log" 2>&1 &
    started+=($!)
    until_true "the signer to listen" test -S "$run/signer.sock"
}

write_config() {
    cat >"$run/hub.toml" <<TOML
data_dir = "data"
trust_domain = "$DOMAIN"
ready_file = "ready.json"

[grpc]
listen = "$1"
client_ca = "pki/client-ca.pem"
client_crl = "pki/client-crl.pem"
TOML
    if [ -n "$authorities" ]; then
        cat >>"$run/hub.toml" <<TOML

[authorities]
signer = "signer.sock"
roots = "ca/server-ca.pem"
names = ["localhost", "127.0.0.1"]
enrolment = "127.0.0.1:0"
soak = "0s"
TOML
    else
        printf 'cert = "pki/server.pem"\nkey = "pki/server.key"\n' >>"$run/hub.toml"
    fi
    printf '\n[http]\nlisten = "127.0.0.1:0"\n' >>"$run/hub.toml"
}

write_profiles() {
    local org hub_ca=pki
    [ -z "$authorities" ] || hub_ca=ca
    for org in "$department" "$police" "$unit" "$ministry" "$centre" "$owner_of_hub" officer; do
        cat >"$run/$org.toml" <<TOML
hub = "$address"
ca = "$hub_ca/server-ca.pem"
cert = "pki/$org.pem"
key = "pki/$org.key"
TOML
    done
}

init_hub() {
    "$LUYTRED" init --data "$run/data" --roster demo/roster.json ${as_of[@]+"${as_of[@]}"} \
        --operator "$operator" --trust-domain "$DOMAIN" >>"$run/hub.log" 2>&1 || fail "luytred init"
}

is_ready_or_dead() { [ -s "$run/ready.json" ] || ! kill -0 "$hub_pid" 2>/dev/null; }

# Starts the hub in the background; sets hub_pid and address.
start_hub() {
    rm -f "$run/ready.json"
    "$LUYTRED" serve --config "$run/hub.toml" ${as_of[@]+"${as_of[@]}"} >>"$run/hub.log" 2>&1 &
    hub_pid=$!
    until_true "the hub to be ready" is_ready_or_dead
    [ -s "$run/ready.json" ] || fail "the hub did not start"
    address=$(sed -n 's/.*"grpc" *: *"\([^"]*\)".*/\1/p' "$run/ready.json")
    [ -n "$address" ] || fail "$run/ready.json does not say where the hub listens"
}

as() { local org=$1; shift; "$LUYTRE" --profile "$run/$org.toml" "$@"; }

# ---- who receives ---------------------------------------------------------

# With --state the subscriber keeps its place, with --name the hub does.
subscribe() {
    local org=$1
    "$LUYTRE" --profile "$run/$org.toml" subscribe --from earliest --format jsonl "${@:2}" \
        >"$run/$org.jsonl" 2>"$run/$org.log" &
    started+=($!)
}

names_in() { grep -o '"name":"indicators/[^"]*"' || true; }
# Names that came as new to one subscriber, as often as they came.
names_received() { { grep '"event":"new"' "$run/$1.jsonl" || true; } | names_in | sort; }
received() { grep -c '"event":"new"' "$run/$1.jsonl" || true; }
has_received() { [ "$(received "$1")" -ge "$2" ]; }
receive_all() {
    local org deadline=$((SECONDS + PATIENCE))
    for org in "$unit" "$ministry"; do
        until has_received "$org" "$1"; do
            [ "$SECONDS" -lt "$deadline" ] || fail "after $PATIENCE s $org has received $(received "$org") of $1; $run/$org.log has its last words"
            sleep 0.02
        done
    done
}
# Names that the hub holds of one producer.
names_held() {
    as "$centre" query --owner "$1" --limit 0 --format jsonl 2>>"$run/analyst.log" | names_in | sort -u \
        || fail "luytre query: $(tail -n 3 "$run/analyst.log")"
}

# ---- the story ------------------------------------------------------------

# All taken (0), or all but the lines that were refused each with its reason (65).
accepted() {
    local code=$1 list=$2
    case "$code" in
        0) ;;
        65) say "$(wc -l <"$run/$list.refused") lines were refused, each with its reason, in $run/$list.refused" ;;
        *) tail -n 5 "$run/publish-$list.log" >&2; fail "publishing ended with exit code $code" ;;
    esac
}

publish_first() {
    local begun code=0
    bold "1. $(short "$department") publishes, $(short "$unit") and $(short "$ministry") receive as it happens"
    begun=$(now)
    as "$department" publish "$run/department.txt" --tlp green --label phishing \
        --rejects "$run/department.refused" 2>"$run/publish-department.log" || code=$?
    first_seconds=$(since "$begun")
    accepted "$code" department
    names_held "$department" >"$run/department.names"
    first=$(wc -l <"$run/department.names")
    receive_all "$first"
    first_delivered=$(since "$begun")
    say "$first indicators published in $first_seconds s, every one durable before it was acknowledged"
    say "everyone has them after $first_delivered s"
}

ask_as_analyst() {
    bold "2. An analyst of $(short "$centre") asks the hub"
    local known
    known=$(sed -n 2p "$run/department.txt")
    say "luytre query --owner $department --limit 2"
    as "$centre" query --owner "$department" --limit 2 2>>"$run/analyst.log" | sed 's/^/    /'
    say "luytre lookup $known khong-co.example"
    as "$centre" lookup "$known" khong-co.example 2>>"$run/analyst.log" | sed 's/^/    /'
}

# The first half of the list, and the rest once the hub has been killed: so the
# kill always falls in the middle, however fast the machine is.
feed() {
    local half=$(($(wc -l <"$1") / 2))
    head -n "$half" "$1"
    until [ -e "$run/killed" ]; do sleep 0.02; done # also touched when this script ends
    tail -n "+$((half + 1))" "$1"
}

publish_second_and_kill() {
    local begun publisher killed batch code=0
    # Small enough that some of the first half is on its way before the kill.
    batch=$(awk -v n="$(wc -l <"$run/police.txt")" 'BEGIN { b = int(n / 10); print (b < 1) ? 1 : (b > 500) ? 500 : b }')
    bold "3. $(short "$police") publishes; in the middle the hub is killed with SIGKILL"
    begun=$(now)
    feed "$run/police.txt" | "$LUYTRE" --profile "$run/$police.toml" publish - --tlp green --label scanner \
        --batch "$batch" --rejects "$run/police.refused" 2>"$run/publish-police.log" &
    publisher=$!
    started+=("$publisher")
    until_true "the second list to begin to arrive" has_received "$unit" "$((first + 1))"
    kill -9 "$hub_pid"
    wait "$hub_pid" 2>/dev/null || true
    killed=$(now)
    touch "$run/killed"
    kill -0 "$publisher" 2>/dev/null || fail "the publisher gave up when the hub died"
    before_kill=$(($(received "$unit") - first))
    say "kill -9 after $before_kill of them had reached $(short "$unit"); publisher and subscribers wait"
    write_config "$address"
    start_hub
    down=$(since "$killed")
    say "the hub is back after $down s on what it had on disk; everyone resumes by himself"
    wait "$publisher" || code=$?
    second_seconds=$(since "$begun")
    accepted "$code" police
    names_held "$police" >"$run/police.names"
    second=$(wc -l <"$run/police.names")
    receive_all "$((first + second))"
    second_delivered=$(since "$begun")
    say "$second indicators published in $second_seconds s, the time without a hub included"
}

has_revocation() { grep '"event":"revoked"' "$run/$1.jsonl" | grep -qF "$2"; }

revoke_one() {
    local name begun org
    name=$(sed -n '1s/.*"\(indicators\/[^"]*\)".*/\1/p' "$run/department.names")
    bold "4. $(short "$department") revokes one: a false positive"
    begun=$(now)
    as "$department" revoke "$name" --reason false-positive --note "demo" >"$run/revoke.out" 2>&1 || { cat "$run/revoke.out" >&2; fail "luytre revoke"; }
    for org in "$unit" "$ministry"; do until_true "$org to hear of the revocation" has_revocation "$org" "$name"; done
    revoked_seconds=$(since "$begun")
    say "$name: everyone knows after $revoked_seconds s"
}

# The name under which somebody received what a producer says of the embargoed address.
embargoed_as() { grep "\"owner\":\"$2\"" "$run/$1.jsonl" | grep -F "\"value\":\"$embargoed\"" | names_in | head -n 1 | cut -d'"' -f4; }
has_embargoed() { [ -n "$(embargoed_as "$1" "$2" 2>/dev/null || true)" ]; }
has_notice() { grep -q '"event":"collision"' "$run/$1.jsonl"; }
has_new() { grep '"event":"new"' "$run/$1.jsonl" | grep -qF "$2"; }
# What an organisation finds under the embargoed address.
finds() { as "$1" lookup --exact "$embargoed" --format jsonl 2>>"$run/embargo.log" | names_in | wc -l; }
say_of() { printf '%s\n' "$2" | "$LUYTRE" --profile "$run/$1.toml" publish - "${@:3}" 2>>"$run/embargo.log" || fail "luytre publish: $(tail -n 2 "$run/embargo.log")"; }

embargo() {
    local officer="spiffe://$DOMAIN/org/$department/user/chuyen-vien" red org
    bold "5. $(short "$police") embargoes an address: TLP:RED, for one named officer of $(short "$department")"
    subscribe officer --state "$run/officer.state"
    subscribe "$police" --state "$run/$police.state" --notices
    say_of "$police" "$embargoed" --tlp red --to-person "$officer" --caveat watch-do-not-block
    until_true "the officer to receive it" has_embargoed officer "$police"
    red=$(embargoed_as officer "$police")
    for org in "$department" "$unit" "$ministry"; do
        [ "$(finds "$org")" -eq 0 ] || fail "$org finds what is for one officer only"
    done
    say "he has it; his own organisation's systems, $(short "$unit") and $(short "$ministry") find nothing"
    say_of "$unit" "$embargoed" --tlp amber --to "$ministry" --label c2
    until_true "the police to be told" has_notice "$police"
    until_true "$ministry to receive it" has_embargoed "$ministry" "$unit"
    say "$(short "$unit") publishes the same address, and learns nothing; $(short "$police") is told at once"
    if grep -qF "$red" "$run/$unit.jsonl" "$run/$ministry.jsonl"; then fail "the embargoed record shows"; fi
    say_of "$police" "$embargoed" --tlp green
    for org in "$unit" "$ministry"; do until_true "$org to receive it" has_new "$org" "$red"; done
    say "lowered to TLP:GREEN, it reaches everyone"
    printf '"name":"%s"\n' "$red" "$(embargoed_as "$ministry" "$unit")" >"$run/embargo.names"
}

# ---- a list that protects ----------------------------------------------------

guard() {
    local begun org
    bold "6. $(short "$department") would have a host blocked that many share; a list holds it back"
    mkdir -p "$run/lists"
    printf '{"name": "Hosts that carry content of many", "version": 1, "description": "demo", "type": "hostname", "list": ["noi-dung-chung.example"]}\n' \
        >"$run/lists/protect-content.json"
    "$LUYTRED" warninglists import "$run/lists" --config "$run/hub.toml" >>"$run/guard.log" 2>&1 || fail "luytred warninglists: $(tail -n 2 "$run/guard.log")"
    "$LUYTRED" reload --config "$run/hub.toml" >>"$run/guard.log" 2>&1 || fail "luytred reload: $(tail -n 2 "$run/guard.log")"
    say "an operator took in a list of such hosts while the hub ran"
    begun=$(now)
    printf '%s\n' "$shared" | as "$department" publish - --tlp green --action block 2>"$run/guard.out" || fail "luytre publish: $(tail -n 2 "$run/guard.out")"
    grep -qF "went out as monitor: on list protect-content" "$run/guard.out" || fail "the publisher was not told: $(cat "$run/guard.out")"
    for org in "$unit" "$ministry"; do until_true "$org to receive it" said "$org" "$shared"; done
    grep -F "\"value\":\"$shared\"" "$run/$unit.jsonl" | grep -qF '"action":"monitor"' || fail "$unit is to block it"
    grep -F "\"value\":\"$shared\"" "$run/$unit.jsonl" | names_in >>"$run/embargo.names"
    say "everyone watches it after $(since "$begun") s, nobody blocks it, and the publisher knows which list said so"
    release
}

# Somebody of the organisation that leads on the day lets it out, else a
# colleague of the publisher; never who published it.
release() {
    local begun decider name etag org
    as "$department" held list --waiting --format jsonl >"$run/held.jsonl" 2>>"$run/guard.log" || fail "luytre held list: $(tail -n 2 "$run/guard.log")"
    decider=$(sed -n 's/.*"deciders":\["\([^"]*\)".*/\1/p' "$run/held.jsonl")
    name=$(sed -n 's/.*"indicator":"\([^"]*\)".*/\1/p' "$run/held.jsonl")
    etag=$(sed -n 's/.*"version":\([0-9]\{16\}\).*/\1/p' "$run/held.jsonl")
    if as "$department" held approve "$name" --etag "$etag" --note "my own" >>"$run/guard.log" 2>&1; then fail "who published it let it out himself"; fi
    case "$decider" in
        "$police" | "$unit" | "$ministry") org=$decider ;;
        "$department") org=officer ;;
        *) say "nobody of this demonstration leads on that day, so it waits"; return ;;
    esac
    begun=$(now)
    as "$org" held approve "$name" --etag "$etag" --note "checked: rented by the attacker alone" >>"$run/guard.log" 2>&1 || fail "luytre held approve: $(tail -n 2 "$run/guard.log")"
    for org in "$unit" "$ministry"; do until_true "$org to be told to block it" blocks "$org"; done
    say "a second person, of $(short "$decider"), checked it and let it out: everyone blocks it after $(since "$begun") s"
}
blocks() { grep -F "\"value\":\"$shared\"" "$run/$1.jsonl" | grep -qF '"action":"block"'; }

# ---- certificates -----------------------------------------------------------

certs() { "$LUYTRE" certs --socket "$run/data/admin.sock" "$@" 2>>"$run/certs.log" || fail "luytre certs $1: $(tail -n 2 "$run/certs.log")"; }
ca() { "$LUYTRE" ca --socket "$run/data/admin.sock" "$@" >>"$run/certs.log" 2>&1 || fail "luytre ca $1: $(tail -n 2 "$run/certs.log")"; }
try_ca() { "$LUYTRE" ca --socket "$run/data/admin.sock" "$@" >>"$run/certs.log" 2>&1; }
serial() { "$LUYTRE" cert show "$run/$1.pem" | awk '$1 == "serial" { print $2; exit }'; }
# Whether connections are open under a certificate.
is_in_use() { certs list --format jsonl | grep -F "\"$1\"" | grep -q '"connections":[1-9]'; }
said() { grep -qF "$2" "$run/$1.jsonl"; }
ended() { ! kill -0 "$1" 2>/dev/null; }

rotate_and_revoke() {
    local begun before name thief
    bold "7. $(short "$unit") gets a certificate over the wire; its authority is rotated; a stolen one is cut off"
    enrolment=$(sed -n 's/.*"enrolment" *: *"\([^"]*\)".*/\1/p' "$run/ready.json")
    certs token issue "spiffe://$DOMAIN/org/$unit/system/soc" --to "$run/token.txt" >/dev/null
    certs token approve "$(certs token list --format jsonl | sed -n 's/.*enrollmentTokens\/\([0-9a-f-]*\)".*/\1/p' | head -n 1)" >/dev/null
    printf 'hub = "%s"\nca = "enrolled-ca.pem"\ncert = "enrolled.pem"\nkey = "enrolled.key"\n' "$address" >"$run/enrolled.toml"
    as enrolled cert enrol --enrol-at "$enrolment" --token-file "$run/token.txt" 2>>"$run/certs.log" || fail "luytre cert enrol: $(tail -n 2 "$run/certs.log")"
    subscribe enrolled --state "$run/enrolled.state"
    until_true "the enrolled system to have everything" has_received enrolled "$((first + second))"
    say "enrolled with a one-time token, and subscribed; now a new authority, with the stream open"
    before=$(serial enrolled)
    begun=$(now)
    "$LUYTRE" pki issuing --dir "$run/ca" --hierarchy client --passphrase-file "$run/passphrase" 2>"$run/issuing.out"
    "$LUYTRE" pki export-signer --dir "$run/ca" --to "$run/keys" 2>>"$run/pki.log"
    name=$(awk '$1 == "name" { print $2 }' "$run/issuing.out")
    "$LUYTRED" backup --config "$run/hub.toml" --to "$run/backup" >>"$run/certs.log" 2>&1 || fail "luytred backup"
    ca prepare client "$name"
    # Within a second the hub has tried a certificate of it on itself.
    until_true "the next authority to be proved" try_ca activate client "$name"
    ca taint client
    as enrolled cert renew 2>>"$run/certs.log" || fail "luytre cert renew: $(tail -n 2 "$run/certs.log")"
    [ "$(serial enrolled)" != "$before" ] || fail "the certificate is the same as before"
    until_true "the stream to move to the new certificate" is_in_use "$(serial enrolled)"
    say_of "$department" rotated-1.example --tlp green
    until_true "the stream to go on" said enrolled rotated-1.example
    grep '"value":"rotated-1.example"' "$run/enrolled.jsonl" | names_in >>"$run/embargo.names"
    rotated_seconds=$(since "$begun")
    say "prepared, activated, renewed: $rotated_seconds s, and the stream went on with nothing lost"
    for file in pem key; do cp "$run/enrolled.$file" "$run/thief.$file"; done
    sed 's/enrolled\./thief./' "$run/enrolled.toml" >"$run/thief.toml"
    subscribe thief
    thief=${started[${#started[@]} - 1]}
    until_true "the thief to be served" has_received thief 1
    begun=$(now)
    certs revoke "$(serial thief)" --reason "stolen in the demonstration" >/dev/null
    revoked_certificate=$(since "$begun")
    until_true "the thief to be cut off" ended "$thief"
    cut_seconds=$(since "$begun")
    say "revoked in $revoked_certificate s; the thief's stream had ended after $cut_seconds s"
}

# ---- the proof ------------------------------------------------------------

check_subscriber() {
    local org=$1 twice missing invented
    names_received "$org" >"$run/$org.received"
    twice=$(uniq -d "$run/$org.received" | wc -l)
    missing=$(comm -13 "$run/$org.received" "$run/acknowledged.names" | wc -l)
    invented=$(comm -23 <(uniq "$run/$org.received") "$run/acknowledged.names" | wc -l)
    [ "$twice" -eq 0 ] || problems+=("$org received $twice indicators twice")
    [ "$missing" -eq 0 ] || problems+=("$org did not receive $missing acknowledged indicators")
    [ "$invented" -eq 0 ] || problems+=("$org received $invented indicators that the hub does not hold")
}

# What one list says letter for letter as the hub does, addresses and plain
# names, came to a subscriber, but for what was refused.
check_values() {
    local org=$1 list=$2 owner=$3 missing
    touch "$run/$list.refused"
    { grep -xE '[0-9]{1,3}(\.[0-9]{1,3}){3}|[a-z0-9][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*)*\.[a-z]+' "$run/$list.txt" || true; } \
        | sort -u | comm -23 - <(grep -o '"[^"]*"' "$run/$list.refused" | tr -d '"' | sort -u) >"$run/$list.values"
    { grep "\"owner\":\"$owner\"" "$run/$org.jsonl" || true; } | sed -n 's/.*"value":"\([^"]*\)".*/\1/p' \
        | sort -u >"$run/$org.values"
    missing=$(comm -23 "$run/$list.values" "$run/$org.values" | wc -l)
    [ "$missing" -eq 0 ] || problems+=("$org lacks $missing values of the list that $owner published")
}

check() {
    local org
    bold "8. Was anything lost?"
    sort -u "$run/department.names" "$run/police.names" "$run/embargo.names" >"$run/acknowledged.names"
    problems=()
    for org in "$unit" "$ministry"; do
        check_subscriber "$org"
        check_values "$org" department "$department"
        check_values "$org" police "$police"
    done
    kill -TERM "$hub_pid"
    wait "$hub_pid" || problems+=("the hub did not stop in good order")
    hub_pid=
    "$LUYTRED" verify --data "$run/data" >"$run/verify.out" 2>&1 \
        || problems+=("luytred verify: $(tail -n 1 "$run/verify.out")")
    say "luytred verify: $(tail -n 1 "$run/verify.out")"
}

# Pads by characters, not by bytes: names are Vietnamese.
row() {
    local text=$1 width=38
    printf '  %s%*s %10s %10s %9s %10s\n' "$text" "$((width - ${#text}))" '' "${@:2}"
}

report() {
    local org
    echo
    row "who" published received seconds "per s"
    row "$(short "$department")" "$first" - "$first_seconds" "$(rate "$first" "$first_seconds")"
    row "$(short "$police"), kill -9 within" "$second" - "$second_seconds" "$(rate "$second" "$second_seconds")"
    for org in "$unit" "$ministry"; do
        row "$(short "$org"), first list" - "$first" "$first_delivered" "$(rate "$first" "$first_delivered")"
        row "$(short "$org"), second list" - "$(($(received "$org") - first - further))" "$second_delivered" "$(rate "$second" "$second_delivered")"
    done
    row "both, the revocation" - 2 "$revoked_seconds" -
    row "a rotation with a stream open" - - "$rotated_seconds" -
    row "a stolen certificate, to its end" - - "$cut_seconds" -
    echo
    if [ "${#problems[@]}" -gt 0 ]; then
        printf '  %s\n' "${problems[@]}" >&2
        fail "see above; everything is kept in $run"
    fi
    bold "Không mất gì: nothing was lost. $((first + second)) acknowledged indicators, each once with each subscriber."
    say "Everything is in $run; make clean-demo removes it."
}

demo() {
    rm -rf "$run"
    mkdir -p -m 700 "$run"
    choose_organisations
    choose_lists
    banner
    build
    make_certificates
    make_authorities
    init_hub
    write_config 127.0.0.1:0
    start_hub
    write_profiles
    say "the hub listens on $address; $(as "$department" whoami 2>/dev/null | head -n 1)"
    subscribe "$unit" --state "$run/$unit.state"
    subscribe "$ministry" --name demo
    publish_first
    ask_as_analyst
    publish_second_and_kill
    revoke_one
    embargo
    guard
    rotate_and_revoke
    check
    report
}

serve() {
    run="$PWD/demo/run/serve"
    choose_organisations
    build
    if [ ! -d "$run/data" ]; then
        rm -rf "$run"
        mkdir -p -m 700 "$run"
        init_hub
    fi
    rm -rf "$run/pki"
    make_certificates
    address=127.0.0.1:7443
    write_config "$address"
    write_profiles
    bold "A hub on $address. In another terminal, for instance:"
    say "$LUYTRE --profile $run/$unit.toml subscribe --from earliest"
    say "$LUYTRE --profile $run/$department.toml publish demo/sample/department.txt --tlp GREEN"
    say "$LUYTRE --profile $run/$centre.toml list"
    trap - EXIT INT TERM
    exec "$LUYTRED" serve --config "$run/hub.toml" ${as_of[@]+"${as_of[@]}"}
}

case "${1:-demo}" in
    demo) demo ;;
    serve) serve ;;
    *) echo "usage: demo/run.sh [demo|serve]" >&2; exit 64 ;;
esac
