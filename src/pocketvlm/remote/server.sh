#!/bin/sh
# What `pocketvlm remote` does on the server: sh server.sh ACTION FOLDER [ARGUMENT...]
#
#   look PYTHON VERSION NAME       what is missing, under way and here already, one fact a line
#   start PYTHON VERSION NAME ...  set up, then `run --detach` with the arguments; keys on stdin
#   follow                         what the set-up and the start say, until both are over
#   call NAME COMMAND ...          a command of pocketvlm in the folder
#   here NAME ...                  which of these files and folders there are
#
# PYTHON may be empty, VERSION is the one the packages were pinned for, NAME the configuration's.
# In .remote/ lie program/ (sent), python (the path of the one that is used), venv/, setup.log, pid,
# lock (held while setting up) and code (how the last set-up and start ended).

set -u
action=$1
folder=$2
shift 2

say() { printf '%s\n' "$*"; }

fail() {
    say "error: $*" >&2
    exit 1
}

under_way() { [ -f .remote/lock ] && ! flock --shared --nonblock .remote/lock true; }

pocketvlm() { PYTHONPATH="$PWD/.remote/program" "$(cat .remote/python)" -m pocketvlm "$@"; }

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null
}

find_python() { # the version that the packages were pinned for comes first
    for python in "python$1" python3 python3.13 python3.12 python3.11; do
        if new_enough "$python"; then
            say "$python"
            return 0
        fi
    done
    return 1
}

look() {
    for tool in rsync flock setsid sha256sum; do
        command -v "$tool" > /dev/null || say "missing $tool"
    done
    if [ -n "$1" ]; then
        new_enough "$1" || say "missing $1"
    else
        find_python "$2" > /dev/null || say "missing python3"
    fi
    mkdir -p -- "$folder/.remote" "$folder/outside" && cd -- "$folder" || exit 1
    if under_way; then say "setting up"; fi
    if [ -f .remote/python ]; then say "status $(pocketvlm status -c "$3" --json 2> /dev/null)"; fi
    for file in state/*.json labels/*.jsonl; do
        if [ -f "$file" ]; then say "holds $(sha256sum "$file")"; fi
    done
}

start() {
    exec 9>> .remote/lock
    flock --wait 5 9 || return 0 # another one is at it: that one is followed
    newline='
'
    keys=$(cat)
    case $keys in
        *"$newline".) keys=${keys%.} ;;
        *) fail "the connection broke before everything had come" ;;
    esac
    rm -f .remote/code
    # printf belongs to the shell: the keys stand in no list of processes, and a pipe is no file
    printf '%s' "$keys" | setsid sh .remote/program/pocketvlm/remote/server.sh work . "$@" \
        > .remote/setup.log 2>&1 &
    say $! > .remote/pid
}

work() {
    trap 'echo $? > .remote/code' EXIT
    trap 'exit 143' HUP INT TERM
    keys=$(cat) # not exported yet: the set-up needs none
    exec < /dev/null
    python=$1
    version=$2
    shift 2
    if [ -n "$python" ]; then
        PYTHONPATH=.remote/program "$python" -m pocketvlm.remote.pins .remote/program/pins.txt ||
            exit 1
    else
        set_up "$version"
        python=$PWD/.remote/venv/bin/python
    fi
    say "$python" > .remote/python
    set -f
    for key in $keys; do export "${key?}"; done
    name=$1
    shift
    pocketvlm run --detach --json -c "$name" "$@" 9>&- > /dev/null
}

set_up() {
    venv=.remote/venv
    pins=.remote/program/pins.txt
    if cmp -s "$pins" "$venv/pins.txt" && "$venv/bin/python" -c '' 2> /dev/null; then
        say "The packages are those of the last time."
        return
    fi
    if ! "$venv/bin/python" -m pip --version > /dev/null 2>&1; then
        found=$(find_python "$1") || fail "no Python 3.11 or newer here"
        say "Making a virtual environment with $found ..."
        "$found" -m venv --clear "$venv" ||
            fail "venv is missing: sudo apt install python3-venv (or ${found##*/}-venv)"
    fi
    command -v c++ > /dev/null || command -v g++ > /dev/null || command -v clang++ > /dev/null ||
        fail "no C++ compiler for llama.cpp here: sudo apt install build-essential"
    say "Installing $(grep -c . "$pins") packages, llama.cpp is compiled once ..."
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
        --requirement "$pins" || fail "pip could not install the packages, see above"
    cp "$pins" "$venv/pins.txt"
}

follow() {
    if under_way; then
        tail -n +1 -s 0.2 -f --pid="$(cat .remote/pid)" .remote/setup.log
    else
        cat .remote/setup.log
    fi
    [ -f .remote/code ] || fail "the set-up was ended from outside: killed, or the power was cut"
    return "$(cat .remote/code)"
}

call() {
    name=$1
    shift
    [ -f .remote/setup.log ] || fail "nothing was started in $folder: pocketvlm remote HOST run"
    if under_way; then
        setting_up "$@"
    elif [ "$(cat .remote/code 2> /dev/null)" != 0 ]; then
        {
            say "The last set-up or start failed; the end of its log:"
            tail -n 10 .remote/setup.log
        } >&2
    fi
    [ -f .remote/python ] || exit 1
    command=$1
    shift
    pocketvlm "$command" -c "$name" "$@"
}

setting_up() { # the command, while there is no run to ask about
    command=$1
    shift
    case "$command $* " in
        stop*)
            kill -- "-$(cat .remote/pid)"
            flock .remote/lock true
            say "The set-up is stopped."
            ;;
        *" --json "*) say '{"state": "setting up"}' ;;
        "logs "*" -f "* | "logs "*" --follow "*) follow && return ;;
        *)
            say "The set-up is under way; the end of its log:"
            tail -n 10 .remote/setup.log
            ;;
    esac
    exit
}

here() {
    for name in "$@"; do
        if [ -e "$name" ]; then say "$name"; fi
    done
}

if [ "$action" != look ]; then cd -- "$folder" || exit 1; fi
case $action in
    start) start "$@" && exec sh .remote/program/pocketvlm/remote/server.sh follow . 9>&- < /dev/null ;;
    look | work | follow | call | here) "$action" "$@" ;;
    *) fail "no action $action" ;;
esac
