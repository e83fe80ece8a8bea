#!/bin/sh
set -eu
case ${1:-} in -*) set -- redis-server "$@" ;; esac
[ "$1" = redis-server ] || exec "$@"
[ "$(id -u)" != 0 ] || { chown redis:redis /data; exec gosu redis "$@" --protected-mode no --bind 0.0.0.0; }
exec "$@" --protected-mode no --bind 0.0.0.0
