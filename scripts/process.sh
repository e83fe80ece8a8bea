# Background processes of scripts/stack and scripts/dev; sourced by bash. The caller sets `dir` and `die`.
# DIR/NAME/pid holds "pid start-time", so that a recycled pid is never signalled; DIR/NAME/log is the output.
# shellcheck shell=bash disable=SC2154

# stat_of PID -> "state start-time", empty when it does not exist
stat_of() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 1,20; }
pid_of() { # NAME -> its pid, rc 1 when it does not run
    local pid born state now
    read -r pid born 2>/dev/null < "$dir/$1/pid" || return 1
    read -r state now <<< "$(stat_of "$pid")"
    [ "$now" = "$born" ] && [ "$state" != Z ] && echo "$pid"
}
# launch NAME COMMAND...: in a session of its own, so that a Ctrl-C at the terminal is not for it
launch() {
    local name=$1
    shift
    rm -f "$dir/$name/pid"
    # shellcheck disable=SC2016 # expanded by the inner shell
    setsid --fork bash -c 'f=$1; shift
        echo "$$ $(sed "s/.*) //" /proc/$$/stat | cut -d " " -f 20)" > "$f.new" && mv "$f.new" "$f"; exec "$@"' \
        launch "$dir/$name/pid" "$@" < /dev/null >> "$dir/$name/log" 2>&1
    until [ -s "$dir/$name/pid" ]; do sleep 0.01; done
}
signal() { # SIGNAL NAME
    local pid
    pid=$(pid_of "$2") || return 0
    kill "-$1" "$pid" 2>/dev/null || :
}
freeze() { # STOP|CONT NAME, with its children: a connection's backend hangs too
    local pid
    pid=$(pid_of "$2") || die "$2 is down"
    # shellcheck disable=SC2046 # one word a pid
    kill "-$1" "$pid" $(pgrep -P "$pid" || :)
}
# gone NAME SECONDS: waits until it has ended; SIGKILL when the time is up
gone() {
    local end=$((SECONDS + $2))
    while pid_of "$1" > /dev/null; do
        if [ $SECONDS -ge $end ]; then
            echo "$1 did not end in $2 s: killed" >&2
            kill9 "$1"
        fi
        sleep 0.05
    done
    rm -f "$dir/$1/pid"
}
kill9() { # with its children, and only done when all of them are
    local pid p
    pid=$(pid_of "$1") || return 0
    for p in "$pid" $(pgrep -P "$pid" || :); do
        kill -KILL "$p" 2>/dev/null || continue
        until [[ $(stat_of "$p") =~ ^(Z.*|)$ ]]; do sleep 0.02; done
    done
    rm -f "$dir/$1/pid"
}
port_used() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# free_base [FIRST]: sixteen free ports in a row, FIRST if those are; else below the kernel's own range
free_base() {
    local base=${1:-$((15000 + RANDOM % 1000 * 16))} k
    while :; do
        for k in {0..15}; do
            if port_used $((base + k)); then
                base=$((15000 + RANDOM % 1000 * 16))
                continue 2
            fi
        done
        echo "$base"
        return
    done
}
