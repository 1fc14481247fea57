#!/bin/sh
# Makes sure that nginx is there for the tests of gateways; says what to install where it cannot be.
set -eu
[ -x /usr/sbin/nginx ] && exit 0
command -v nginx >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Debian's nginx for the tests…"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light >/dev/null
  exit 0
fi
echo "The tests also run nginx; install it (on Debian: apt-get install nginx-light)." >&2
exit 1
