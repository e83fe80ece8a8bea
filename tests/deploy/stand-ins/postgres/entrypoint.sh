#!/bin/sh
# POSTGRES_USER, _DB, _PASSWORD or _PASSWORD_FILE, PGDATA; any other command than `postgres` is run as it is.
set -eu
[ "${1:-}" = postgres ] || exec "$@"
: "${POSTGRES_USER:=postgres}" "${POSTGRES_DB:=$POSTGRES_USER}"
[ -z "${POSTGRES_PASSWORD_FILE:-}" ] || POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
as_postgres() { if [ "$(id -u)" = 0 ]; then gosu postgres "$@"; else "$@"; fi; }
mkdir -p "$PGDATA" /var/run/postgresql
if [ "$(id -u)" = 0 ]; then chown -R postgres:postgres "$PGDATA" /var/run/postgresql; fi
chmod 700 "$PGDATA" || :
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    pw=$(mktemp)
    printf '%s' "${POSTGRES_PASSWORD:?}" > "$pw"
    if [ "$(id -u)" = 0 ]; then chown postgres "$pw"; fi
    as_postgres initdb -E UTF8 -U "$POSTGRES_USER" --pwfile="$pw" --auth-host=scram-sha-256 --auth-local=trust > /dev/null
    rm "$pw"
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    as_postgres pg_ctl -w -o "-c listen_addresses= -c unix_socket_directories=/var/run/postgresql" start > /dev/null
    [ "$POSTGRES_DB" = postgres ] || as_postgres createdb -h /var/run/postgresql -U "$POSTGRES_USER" "$POSTGRES_DB"
    as_postgres pg_ctl -w stop > /dev/null
fi
if [ "$(id -u)" = 0 ]; then set -- gosu postgres "$@"; fi
exec "$@" -c unix_socket_directories=/var/run/postgresql -c listen_addresses='*'
