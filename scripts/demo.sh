#!/usr/bin/env bash
# The whole road, as a new user walks it: train a model, push it, ask it at its URL; then everything goes again.
# The AWS that it is pushed to is the one of this machine, a fresh one that ends with the demo. Where no engine is and
# none may be installed, the same model answers from a plain process.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$repo/.venv/bin:$PATH

served="" pushed=""
folder=$(mktemp -d)
clean_up() {
    if [ -n "$served" ] && kill -INT "$served" 2>/dev/null; then wait "$served" || true; fi
    [ -z "$pushed" ] || thampi local stop || true
    rm -rf "$folder"
}
trap clean_up EXIT

step() { echo; echo "\$ $*"; "$@"; }

free_port() {
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

ask() {  # URL
    local data='{"data": {"input": [5.9, 3.2, 4.8, 1.8]}}' answer
    echo; echo "\$ curl -d '$data' -H 'Content-Type: application/json' $1"
    if command -v curl >/dev/null; then
        answer=$(curl --silent --show-error -d "$data" -H 'Content-Type: application/json' "$1")
    else
        answer=$(python -c 'import sys, urllib.request as r
asked = r.Request(sys.argv[1], sys.argv[2].encode(), {"Content-Type": "application/json"})
print(r.urlopen(asked).read().decode())' "$1" "$data")
    fi
    echo "$answer"
    case $answer in
        *'"result":{"result":2}'*) ;;
        *) echo "demo: that is not the tutorial's answer" >&2; exit 1 ;;
    esac
}

push() {
    export XDG_STATE_HOME=$folder/state THAMPI_LOCAL_PORT
    THAMPI_LOCAL_PORT=$(free_port 4566)
    pushed=yes
    echo; echo "\$ thampi push local"
    url=$(thampi push local | tail -n 1)
    ask "$url"
    step thampi info local
    step thampi destroy local --all --yes
}

run_without_docker() {
    local port url
    port=$(free_port 8080)
    url=http://localhost:$port/mymodel
    echo; echo "\$ thampi run --no-docker --port $port &"
    thampi run --no-docker --port "$port" &
    served=$!
    until python -c "import urllib.request; urllib.request.urlopen('$url/ping')" 2>/dev/null; do
        kill -0 "$served" 2>/dev/null || { served=; echo "demo: thampi run ended" >&2; exit 1; }
        sleep 0.2
    done
    ask "$url/predict"
}

engine=0
"$repo/scripts/engine.sh" start || engine=$?

cd "$folder"
step thampi init --name mymodel --example </dev/null
step python train.py
case $engine in
    0) push ;;
    3) echo "demo: walking the road without Docker"; run_without_docker ;;
    *) exit "$engine" ;;
esac
echo; echo "demo: the model answered; cleaning up"
