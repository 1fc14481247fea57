#!/bin/sh
# Makes sure that PostgreSQL's server binaries are there for a run on it; says what to install where they cannot be.
set -eu
[ "$1" = postgresql ] || exit 0
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && exit 0
command -v initdb >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Debian's PostgreSQL for the tests…"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
  exit 0
fi
echo "The tests also run on PostgreSQL; install its server binaries (on Debian: apt-get install postgresql)." >&2
exit 1
