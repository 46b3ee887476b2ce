#!/bin/sh
# Make sure that there is a Chromium for the browser tests: on Debian and its kin, as root, install it; else say how.
set -e
for name in chromium-headless-shell chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ -n "$CHROMIUM" ] && [ -x "$CHROMIUM" ]; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing Chromium for the browser tests …"
  apt-get update -qq
  for name in chromium-headless-shell chromium; do
    if DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$name" >/dev/null 2>&1; then exit 0; fi
  done
  echo "apt-get cannot install chromium or chromium-headless-shell." >&2
fi
echo "The browser tests need Chromium. Debian, Ubuntu: sudo apt-get install chromium; or set CHROMIUM=/path/to/chromium." >&2
exit 1
