#!/usr/bin/env bash
# Makes this machine able to run the tests of the page: a Chromium. Uses one that is there, wherever it is from; else
# installs Debian's package, or, where that can't be, the one that playwright brings, into the user's cache.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$repo/.venv/bin/python

say() { echo "browser: $*" >&2; }

starts() {  # as the tests start it: what is there may lack a library
  (cd "$repo" && "$python" -c 'from tests.browser import chromium
with chromium() as found: print(found.version)' 2>&1)
}

is_debian() { grep -qs '^ID=debian' /etc/os-release; }  # Ubuntu's package is a snap, which no container can run

if version=$(starts); then
  say "Chromium $version"
  exit
fi
if [ "$(id -u)" = 0 ] && is_debian; then
  say "installing chromium from Debian's packages"
  apt-get -qq update >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 install \
    chromium fonts-dejavu-core >/dev/null
else
  say "installing the Chromium of playwright"
  with=()
  [ "$(id -u)" != 0 ] || with=(--with-deps)
  "$python" -m playwright install "${with[@]}" chromium >&2
fi
version=$(starts) || { tail -n 5 <<<"$version" >&2; say "no Chromium starts here, see above"; exit 1; }
say "Chromium $version"
