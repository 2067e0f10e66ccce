#!/usr/bin/env bash
# Prepares .venv beside this checkout: checks the system's libraries, then installs with pip and constraints.txt.
# Safe to run again: when neither pyproject.toml nor constraints.txt changed, nothing is installed.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"
stamp="$venv/.installed-from"

say() { printf '%s\n' "== $*"; }
fail() { printf '%s\n' "$@" >&2; exit 1; }

require_python() {
    command -v python3 >/dev/null || fail "python3 is not on the PATH: install Python 3.11 or newer"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "python3 is $(python3 -V 2>&1 | cut -d' ' -f2), expected 3.11 or newer"
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        fail "python3 cannot make virtual environments here. Run:" "    sudo apt-get install -y python3-venv"
}

# libsumo links these although it never opens a window.
missing_packages() {
    python3 - <<'PYTHON'
import ctypes

LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
}
for library, package in LIBRARIES.items():
    try:
        ctypes.CDLL(library)
    except OSError:
        print(package)
PYTHON
}

require_libraries() {
    local missing
    missing="$(missing_packages | tr '\n' ' ')"
    missing="${missing% }"
    [ -z "$missing" ] || fail "SUMO needs system libraries that are not installed. Run:" \
        "    sudo apt-get install -y --no-install-recommends $missing"
}

fingerprint() {
    cat "$root/pyproject.toml" "$root/constraints.txt" <(python3 -V) <(echo "$root") | sha256sum | cut -d' ' -f1
}

install() {
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint)" ] && [ -x "$venv/bin/scenariogen" ]; then
        say "$venv is up to date"
        return
    fi
    say "making $venv and installing into it (a few minutes the first time)"
    rm -f "$stamp"
    "$venv/bin/python" -c '' 2>/dev/null || python3 -m venv --clear "$venv"
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet -c "$root/constraints.txt")
    "${pip[@]}" torch
    "${pip[@]}" -e "${root}[test]"
    fingerprint > "$stamp"
    say "installed"
}

if [ "${1:-}" = "--missing-packages" ]; then
    missing_packages
    exit 0
fi
require_python
require_libraries
install
