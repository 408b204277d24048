#!/usr/bin/env bash
# Makes this machine able to build thampi images: a Docker engine, a client with BuildKit, the base image.
#
#   scripts/engine.sh start [PYTHON_MINOR]     uses what is there; installs and starts what is missing
#   scripts/engine.sh stop                     ends the engine that start began by hand, never another one
#   scripts/engine.sh status [PYTHON_MINOR]
#
# PYTHON_MINOR (an argument or a variable, like 3.12) is the Python of the base image; default: that of .venv, else of
# python3. Exit codes: 0 ready, 1 something failed, 2 usage, 3 no engine and none may be installed here, 4 no base
# image.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin                  # dockerd and iptables live there, and su keeps the user's PATH
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ours=/run/thampi-engine                     # pidfile, log and lock of the engine that we start by hand
socket=unix:///var/run/docker.sock          # where an engine listens and a client looks, unless told otherwise
docker=                                     # the client that builds; find_client sets it
without='"thampi run --no-docker" needs none'

litter=()                                   # files to remove at the end, however it comes
trap '[ ${#litter[@]} = 0 ] || rm -f "${litter[@]}"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { echo "engine: $*" >&2; }
die() { say "${*:2}"; exit "$1"; }

# shellcheck source-path=SCRIPTDIR source=python-image.sh
. "$repo/scripts/python-image.sh"

# ---- what is there --------------------------------------------------------------------------------------------------

limited() {  # SECONDS COMMAND...: a hung engine must not hang us; macOS has no timeout
  if command -v timeout >/dev/null; then timeout "$@"; else "${@:2}"; fi
}

clients() { if [ -n "${THAMPI_DOCKER:-}" ]; then command -v "$THAMPI_DOCKER"; else type -aP docker; fi || true; }

first_client() {
  local all
  all=$(clients)
  echo "${all%%$'\n'*}"
}

answers() {
  local client IFS=$'\n'
  for client in $(clients); do
    ! limited 10 "$client" version >/dev/null 2>&1 || return 0
  done
  return 1
}

find_client() {  # as thampi itself chooses: the first with BuildKit, be it the plugin or, before 23, built in
  local client major IFS=$'\n'
  for client in $(clients); do
    major=$("$client" --version 2>/dev/null | sed -n 's/^Docker version \([0-9]*\).*/\1/p')
    if [ "${major:-99}" -lt 23 ] || "$client" buildx version >/dev/null 2>&1; then
      docker=$client
      return
    fi
  done
  return 1
}

endpoint() {  # where the user's client looks: what DOCKER_HOST or a context says, or the default
  local client
  client=$(first_client)
  "${client:-false}" context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || echo "${DOCKER_HOST:-$socket}"
}

runs() {  # PID NAME: pids are used again after a reboot, and a zombie (it has no command line) runs no more
  [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] && grep -qsa . "/proc/$1/cmdline"
}

our_dockerd() {
  local pid
  pid=$(cat $ours/docker.pid 2>/dev/null) && runs "$pid" dockerd &&
    grep -qszxF $ours/docker.pid "/proc/$pid/cmdline" && echo "$pid"
}

# ---- packages -------------------------------------------------------------------------------------------------------

is_root() { [ "$(id -u)" = 0 ]; }

# shellcheck disable=SC1091  # every system has its own
os() { (. /etc/os-release && echo "${!1:-}") 2>/dev/null || true; }

is_debian() {  # Debian 12, Ubuntu 24.04 or newer; Debian testing has no version
  local oldest version
  case $(os ID) in debian) oldest=12 ;; ubuntu) oldest=24 ;; *) return 1 ;; esac
  version=$(os VERSION_ID)
  [ "${version%%.*}" -ge $oldest ] 2>/dev/null || [ -z "$version" ]
}

update_packages() {  # once; when it fails, what apt knows already may do
  [ -n "${updated:-}" ] || apt-get -qq update >/dev/null 2>&1 || true
  updated=yes
}

has_package() { [[ $(apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[0-9]* ]]; }

install_packages() {
  local out policy=/usr/sbin/policy-rc.d failed=
  # No service starts by itself: a client comes with an engine that nobody asked for, and without systemd an init
  # script would race with us for the socket.
  if [ -e $policy ]; then
    policy=
  else
    litter+=("$policy")
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  # --no-remove: Debian's packages and those of docker.com exclude each other, and apt would swap them unasked.
  out=$(DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends --no-remove \
    -o DPkg::Lock::Timeout=120 install "$@" 2>&1 </dev/null) || failed=yes
  [ -z "$policy" ] || rm -f $policy
  [ -z "$failed" ] || { tail -n 8 <<<"$out" >&2; die 1 "apt-get install $* failed, see above"; }
}

install_engine() {
  local apart=()
  say "installing Docker from the $(os NAME) packages"
  update_packages
  ! has_package docker-cli || apart+=(docker-cli)     # in newer releases
  ! has_package docker-buildx || apart+=(docker-buildx)
  install_packages docker.io iptables ca-certificates "${apart[@]}"
}

install_client() {
  local wanted="docker.io"                            # of Debian 12: a client older than 23
  update_packages
  if dpkg -s docker-ce-cli >/dev/null 2>&1; then wanted="docker-buildx-plugin"
  elif has_package docker-buildx; then wanted="docker-buildx"
  fi
  say "installing $wanted: no docker client here has BuildKit"
  install_packages "$wanted"
}

# ---- start ----------------------------------------------------------------------------------------------------------

check_may_install() {
  local at caps none
  at=$(endpoint)
  none="no Docker engine answers at $at"
  case $at in
    "$socket" | unix:///run/docker.sock) ;;
    *) die 3 "$none, where DOCKER_HOST or the docker context points: start that one, or unset it; $without" ;;
  esac
  if [ -S "${socket#unix://}" ] && [ ! -w "${socket#unix://}" ]; then
    die 3 "this user may not use the Docker engine: join the group docker and log in again; $without"
  fi
  is_debian || die 3 "$none: start Docker, or install it (https://docs.docker.com/get-docker/); $without"
  is_root || die 3 "$none: start it, let root run this, or install it (https://docs.docker.com/get-docker/); $without"
  # An engine needs the capabilities NET_ADMIN (bit 12) and SYS_ADMIN (21): a plain container has neither.
  caps=$((0x$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)))
  [ $((caps >> 12 & caps >> 21 & 1)) = 1 ] ||
    die 3 "$none, and none can run in a container that isn't privileged; $without"
}

mount_cgroups() {  # systemd's work, where it runs
  local name
  if ! grep -q ' /sys/fs/cgroup' /proc/mounts && ! mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null; then
    mount -t tmpfs cgroup /sys/fs/cgroup
    sed -n 's/^\([a-z_]*\).*1$/\1/p' /proc/cgroups | while read -r name; do
      mkdir "/sys/fs/cgroup/$name"
      mount -t cgroup -o "$name" cgroup "/sys/fs/cgroup/$name" || rmdir "/sys/fs/cgroup/$name"
    done
  fi
  # The topmost cgroup has a type in containers only. There, version 2 gives no controller to the children of a cgroup
  # that holds processes: they move into a leaf.
  if [ -e /sys/fs/cgroup/cgroup.type ]; then
    mkdir -p /sys/fs/cgroup/init
    xargs -rn1 </sys/fs/cgroup/cgroup.procs >/sys/fs/cgroup/init/cgroup.procs 2>/dev/null || true
    sed 's/[a-z]\+/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control || true
  fi
}

start_by_hand() {
  local pid path=$PATH tries=300 containerd=/var/run/docker/containerd/containerd.pid
  if ! pid=$(our_dockerd); then
    pid=$(cat /var/run/docker.pid 2>/dev/null) || pid=none
    ! runs "$pid" dockerd || die 1 "a Docker engine that isn't ours (pid $pid) runs and doesn't answer"
    # After a kill -9 of an engine its containerd may be a zombie for a while: the next engine would take it for a
    # living one and wait for it in vain.
    [ ! -e $containerd ] || runs "$(cat $containerd)" containerd || rm -f $containerd
    mount_cgroups
    # A kernel may serve only one of the two kinds of iptables. The choice is for this engine, not for the machine: no
    # update-alternatives.
    rm -rf "${ours:?}/bin"
    if ! iptables -t nat -S >/dev/null 2>&1 && iptables-legacy -t nat -S >/dev/null 2>&1; then
      mkdir $ours/bin
      ln -s "$(command -v iptables-legacy)" $ours/bin/iptables
      ln -s "$(command -v ip6tables-legacy)" $ours/bin/ip6tables
      path=$ours/bin:$PATH
    fi
    rm -f $ours/docker.pid
    say "starting the Docker engine"
    # Its own session: it outlives the shell that called make. Descriptor 9 is our lock.
    PATH=$path setsid dockerd --pidfile $ours/docker.pid </dev/null >$ours/dockerd.log 2>&1 9>&- &
    pid=$!
  fi
  while [ $((tries--)) -gt 0 ] && kill -0 "$pid" 2>/dev/null; do
    ! answers || return 0
    sleep 0.1
  done
  grep -v level=info $ours/dockerd.log | tail -n 8 >&2 || true
  die 1 "the Docker engine doesn't start: its last words are above, all of them in $ours/dockerd.log"
}

start_engine() {
  check_may_install
  command -v dockerd >/dev/null || install_engine
  ! answers || return 0                               # only a client was missing
  if [ -d /run/systemd/system ]; then
    say "starting the Docker engine"
    if ! systemctl start docker || ! answers; then die 1 "the Docker engine doesn't start: see journalctl -u docker"; fi
  else
    start_by_hand
  fi
}

lock() {  # make test and make demo may run side by side; where we change nothing but images, do without
  if is_root && command -v flock >/dev/null; then
    mkdir -p $ours
    exec 9>$ours/lock
    flock 9
  fi
}

start() {
  local plugin='install its buildx plugin: https://docs.docker.com/build/install-buildx/'
  base_image "$@"
  if answers && find_client && has_image; then
    say "ready: $docker, $image"
    return
  fi
  lock
  answers || start_engine
  if ! find_client; then
    if is_debian && is_root; then install_client; fi
    find_client || die 1 "no docker client here has BuildKit; $plugin"
  fi
  has_image || pull_image || make_stand_in
  say "ready: $docker, $image"
}

# ---- stop, status ---------------------------------------------------------------------------------------------------

leftovers() {  # what a killed engine leaves mounted; its data folder is its own mount only when bound onto itself
  awk '$5 ~ "^((/var)?/run|/var/lib)/docker/" || $5 == "/var/lib/docker" && $4 == $5 { print $5 }' \
    /proc/self/mountinfo | sort -r
}

stop() {
  local pid client tries=150
  if ! pid=$(our_dockerd); then
    if [ ! -e $ours/docker.pid ] || answers || [ -z "$(leftovers)" ]; then
      say "no engine of ours runs here"
      return
    fi
  fi
  is_root || die 1 "only root may stop the Docker engine"
  if [ -z "$pid" ]; then
    say "ours was killed, and containers of it may still run: only an engine ends these"
    start_by_hand
    pid=$(our_dockerd)
  fi
  say "stopping the Docker engine"
  # Each container that ignores TERM would take 10 s. The socket is named: a context may lead elsewhere.
  client=$(first_client)
  limited 10 "$client" -H $socket ps -q 2>/dev/null |
    limited 10 xargs -r "$client" -H $socket kill >/dev/null 2>&1 || true
  kill -TERM "$pid"
  while [ $((tries--)) -gt 0 ] && runs "$pid" dockerd; do sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null || true
  leftovers | xargs -r umount -l 2>/dev/null || true
  rm -f $ours/docker.pid
}

status() {
  local pid ready=0
  base_image "$@"
  if answers; then
    pid=$(our_dockerd) || pid=
    echo "engine: at $(endpoint)${pid:+, started by this script (pid $pid)}"
  else
    echo "engine: none answers at $(endpoint)"
    ready=1
  fi
  if find_client; then echo "client with BuildKit: $docker"; else echo "client with BuildKit: none"; ready=1; fi
  if [ $ready = 1 ]; then
    echo "base image: $image, if it is there"
  elif has_image; then
    echo "base image: $image$(! is_stand_in || echo " (a stand-in, made of the distribution's packages)")"
  else
    echo "base image: $image isn't there"
    ready=1
  fi
  return $ready
}

case ${1:-} in
  start | stop | status) "$@" ;;
  *) die 2 "usage: scripts/engine.sh start|stop|status [PYTHON_MINOR]" ;;
esac
