#!/usr/bin/env bash
# The whole road, as a new user walks it: train a model, build its image, run it, ask it; then everything goes again.
# Where no engine is and none may be installed, the same model answers from a plain process.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$repo/.venv/bin:$PATH

port=8080 served=
folder=$(mktemp -d)
clean_up() {
    if [ -n "$served" ] && kill -INT "$served" 2>/dev/null; then wait "$served" || true; fi
    rm -rf "$folder"
}
trap clean_up EXIT

step() { echo; echo "\$ $*"; "$@"; }

engine=0
"$repo/scripts/engine.sh" start || engine=$?
case $engine in
    0) road= ;;
    3) road=--no-docker; echo "demo: walking the road without Docker" ;;
    *) exit "$engine" ;;
esac

cd "$folder"
step thampi init --name mymodel --example </dev/null
step python train.py
[ -n "$road" ] || step thampi build
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
echo; echo "\$ thampi run --port $port $road &"
thampi run --port "$port" $road &
served=$!

url=http://localhost:$port/mymodel
until python -c "import urllib.request; urllib.request.urlopen('$url/ping')" 2>/dev/null; do
    kill -0 "$served" 2>/dev/null || { served=; echo "demo: thampi run ended" >&2; exit 1; }
    sleep 0.2
done
data='{"data": {"input": [5.9, 3.2, 4.8, 1.8]}}'
echo; echo "\$ curl -d '$data' -H 'Content-Type: application/json' $url/predict"
if command -v curl >/dev/null; then
    answer=$(curl --silent --show-error -d "$data" -H 'Content-Type: application/json' "$url/predict")
else
    answer=$(python - "$url/predict" "$data" <<'ASK'
import sys, urllib.request
asked = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Content-Type": "application/json"})
print(urllib.request.urlopen(asked).read().decode())
ASK
)
fi
echo "$answer"
case $answer in
    *'"result":{"result":2}'*) echo; echo "demo: the model answered; cleaning up" ;;
    *) echo "demo: that is not the tutorial's answer" >&2; exit 1 ;;
esac
