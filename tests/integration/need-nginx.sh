#!/bin/sh
# Make sure that there is an nginx for the test of docs/nginx.conf: one that is installed, or Debian's package unpacked into
# .venv/nginx, where it starts no service; else say how.
set -e
place="$(dirname "$0")/../../.venv/nginx"
if [ -n "$NGINX" ] && [ -x "$NGINX" ]; then exit 0; fi
if PATH="$PATH:/usr/sbin" command -v nginx >/dev/null 2>&1 || [ -x "$place/usr/sbin/nginx" ]; then exit 0; fi
if command -v apt-get >/dev/null 2>&1 && command -v dpkg >/dev/null 2>&1; then
  echo "Fetching nginx for a test …"
  mkdir -p "$place" && cd "$place"
  if [ "$(id -u)" = 0 ]; then apt-get update -qq; fi
  if apt-get download -qq nginx >/dev/null 2>&1; then
    dpkg -x nginx_*.deb . && rm -f nginx_*.deb
    if ./usr/sbin/nginx -v >/dev/null 2>&1; then exit 0; fi
  fi
fi
echo "A test needs nginx. Debian, Ubuntu: sudo apt-get install nginx-light; or set NGINX=/path/to/nginx." >&2
exit 1
