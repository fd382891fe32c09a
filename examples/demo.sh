#!/usr/bin/env bash
# A walk through Argus in a minute: plan and apply examples/acme, change rows behind its back, see who did it, repair.
#
# It works in a folder of its own under $TMPDIR with a private PostgreSQL, which goes when it is done. Every step checks
# its outcome, so the script fails where the story breaks. `make demo` installs what it needs and runs it.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$HOME/.cargo/bin:$PATH"

printf 'Building argus ...\n'
cargo build --quiet --locked --bin argus
argus=${CARGO_TARGET_DIR:-target}/debug/argus

work=$(mktemp -d "${TMPDIR:-/tmp}/argus-demo.XXXXXX")
trap 'rm -rf "$work"' EXIT
# PostgreSQL refuses to run as root; whoever runs it then must be able to enter the folder.
chmod 755 "$work"
unset ARGUS_DATABASE_URL ARGUS_CONFIG
export ARGUS_DATA_DIR=$work/data

bold=$(tput bold 2>/dev/null || true)
plain=$(tput sgr0 2>/dev/null || true)
if [ ! -t 1 ] || [ -n "${NO_COLOR:-}" ]; then bold='' plain=''; fi

tell() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# expect CODE [--says TEXT]... -- COMMAND: prints the command, runs it, and stops the demo unless it ends with CODE and
# says each TEXT.
expect() {
    local wanted=$1 code=0 texts=() text
    shift
    while [ "$1" = --says ]; do
        texts+=("$2")
        shift 2
    done
    shift
    printf '\n%s$ %s%s\n' "$bold" "${*/#"$argus"/argus}" "$plain"
    "$@" >"$work/output" 2>&1 || code=$?
    cat "$work/output"
    if [ "$code" -ne "$wanted" ]; then
        printf '\ndemo: that should have ended with %s, and ended with %s\n' "$wanted" "$code" >&2
        exit 1
    fi
    for text in "${texts[@]}"; do
        if ! grep -qF -- "$text" "$work/output"; then
            printf '\ndemo: that should have said "%s"\n' "$text" >&2
            exit 1
        fi
    done
}

tell 'Nothing is in the database yet. What would happen?'
expect 2 --says 'ada@acme.example' --says '0 to destroy' -- "$argus" plan examples/acme --detailed-exitcode

tell 'Make it so.'
expect 0 -- "$argus" apply examples/acme --auto-approve

tell 'Now the database is what the manifests say.'
expect 0 --says 'No changes' -- "$argus" plan examples/acme --detailed-exitcode
expect 0 -- "$argus" get members -O acme

tell 'Somebody with SQL access changes a name and makes an owner of herself.'
expect 0 --says 'UPDATE 1' -- "$argus" db run -- \
    psql -c "UPDATE argus.organization SET display_name = 'Acme, now mine' WHERE name = 'acme'"
expect 0 --says 'INSERT 0 1' -- "$argus" db run -- psql --single-transaction \
    -c "INSERT INTO argus.member (organization, email) VALUES ('acme', 'mallory@acme.example')" \
    -c "INSERT INTO argus.member_role (organization, member, role) VALUES ('acme', 'mallory@acme.example', 'owner')"

tell 'Argus sees it, and says who did it and through what.'
expect 2 --says 'mallory@acme.example' --says 'Acme, now mine' --says 'psql' -- \
    "$argus" drift examples/acme --detailed-exitcode

tell 'The next plan puts it right.'
expect 2 --says 'mallory@acme.example' -- "$argus" plan examples/acme --detailed-exitcode
expect 0 -- "$argus" apply examples/acme --auto-approve
expect 0 --says 'No changes' -- "$argus" plan examples/acme --detailed-exitcode

tell 'And the audit remembers all of it.'
expect 0 --says 'psql' -- "$argus" history acme

tell 'That was it. The private database is gone again; your turn: argus plan examples/acme'
