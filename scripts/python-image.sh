# The base image of thampi's images, for machines without it: pulled, or made when no registry answers. Sourced by
# engine.sh, whose names it uses.
# shellcheck shell=bash disable=SC2154

base_image() {  # [MINOR]: sets minor and image
  local python
  minor=${1:-${PYTHON_MINOR:-}}
  if [ -z "$minor" ]; then
    python=$repo/.venv/bin/python3
    [ -x "$python" ] || python=python3
    minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
      die 2 "no python3 here: say which Python the image shall have, like PYTHON_MINOR=3.12"
  fi
  [[ $minor =~ ^3\.[0-9]+$ ]] || die 2 "PYTHON_MINOR is like 3.12, not '$minor'"
  image=public.ecr.aws/docker/library/python:$minor-slim-bookworm
}

has_image() { "$docker" image inspect "$image" >/dev/null 2>&1; }

is_stand_in() {
  [ "$("$docker" image inspect --format '{{index .Config.Labels "thampi.stand-in"}}' "$image")" = true ]
}

pull_image() {  # Docker Hub has the same image, and companies mirror it
  local from refusal
  for from in "$image" "python:$minor-slim-bookworm"; do
    say "pulling $from"
    # A registry that can't be reached is refused at once or within seconds; the limit is for one that stalls.
    if refusal=$(limited 180 "$docker" pull --quiet "$from" 2>&1); then
      [ "$from" = "$image" ] || "$docker" tag "$from" "$image"
      return
    fi
  done
  say "no registry gave it: ${refusal##*$'\n'}"
  return 1
}

distribution() {  # a tar of the host's own distribution with Python, as the official image has it
  local components=main
  [ "$(os ID)" = debian ] || components=main,universe  # Ubuntu has pip there
  # No man pages and the like, as in the official image. The marker would make pip refuse to install. usr-is-merged and
  # its hook save 50 MB of perl, which the other way to a merged /usr needs. /tmp may be small, or forbid devices.
  # shellcheck disable=SC2016  # the hooks' own $1
  TMPDIR=/var/tmp mmdebstrap --variant=minbase --components=$components \
    --include=apt,ca-certificates,python3,python3-pip,python3-venv,usr-is-merged \
    --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/lib/python3*/EXTERNALLY-MANAGED' --dpkgopt=force-unsafe-io \
    --customize-hook='cd "$1/usr/local/bin" && ln -s ../../bin/python3 python3 && ln -s ../../bin/python3 python &&
                      ln -s ../../bin/pip3 pip3 && ln -s ../../bin/pip3 pip' \
    --customize-hook='echo "APT::Keep-Downloaded-Packages \"false\";" >"$1/etc/apt/apt.conf.d/docker-clean"' \
    --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"' \
    "$(os VERSION_CODENAME)" -
}

make_stand_in() {
  local have id log
  if ! is_debian || ! is_root; then
    die 4 "no base image: let the engine reach a registry; a stand-in takes root, and Debian 12, Ubuntu 24.04 or newer"
  fi
  update_packages
  have=$(apt-cache show --no-all-versions python3 2>/dev/null | sed -n 's/^Version: \(3\.[0-9]*\).*/\1/p') || true
  [ "$have" = "$minor" ] ||
    die 4 "no base image: $(os PRETTY_NAME) has Python ${have:-(none found)}, not $minor, to make a stand-in of;" \
      "where the engine reaches a registry, any Python goes"
  # mmdebstrap knows from distro-info-data which mirror has the suite.
  dpkg -s mmdebstrap distro-info-data >/dev/null 2>&1 || install_packages mmdebstrap distro-info-data
  say "making a stand-in from the $(os NAME) packages (half a minute)"
  log=$(mktemp)
  litter+=("$log")
  if ! id=$(distribution 2>"$log" | "$docker" import --message "thampi: stand-in for $image" \
    --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8' \
    --change 'CMD ["python3"]' --change 'LABEL thampi.stand-in=true' -); then
    tail -n 8 "$log" | cut -c -200 >&2
    [ -z "$id" ] || "$docker" rmi "$id" >/dev/null 2>&1 || true
    die 4 "no base image: making a stand-in failed, see above"
  fi
  # Named last: a broken one must never pass for the image.
  "$docker" run --rm --network none "$id" python -m pip --version >/dev/null ||
    die 1 "the engine runs no containers, see above"
  "$docker" tag "$id" "$image"
}
