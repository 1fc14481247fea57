#!/bin/sh
# Finds Chromium for the browser tests, or installs it, or says plainly what is missing.
set -u
[ -x /usr/bin/chromium ] && exit 0
"$PYTHON" - <<'PY' && exit 0
import os, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    sys.exit(not os.path.exists(playwright.chromium.executable_path))
PY
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null && exit 0
fi
"$PYTHON" -m playwright install chromium && exit 0
echo "The browser tests need Chromium and none could be installed. On Debian: apt-get install chromium" >&2
exit 1
