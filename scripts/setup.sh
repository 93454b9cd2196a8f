#!/usr/bin/env bash
# Makes .venv with outgrow, all extras and the development tools, and checks that Spark finds a Java.
# Run it as often as you like: when nothing changed it installs nothing.
# With --programs it also installs the servers and browsers without which some tests are skipped, where it may.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

JAVA_NEEDED=17
STAMP=.venv/.outgrow-setup

say() { printf '%s\n' "setup: $*"; }

stop() {
    printf '%s\n' "setup: $1" "setup: type:  $2" >&2
    exit 1
}

# Prints what must stand before a command to run it as root; fails where that would need a password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        echo env
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        echo "sudo env"
    else
        return 1
    fi
}

# apt_install PACKAGE...: true when all of them could be installed.
apt_install() {
    local root
    command -v apt-get >/dev/null && root=$(as_root) || return 1
    say "installing $* with apt-get"
    $root DEBIAN_FRONTEND=noninteractive apt-get update -qq || true # an old index may still know them
    $root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=600 "$@" >/dev/null
}

# ---- Python ------------------------------------------------------------------------------------------------

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_venv() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }

# The first Python of 3.11 or later that can make an environment; else the first of 3.11 or later.
find_python() {
    local name without=""
    for name in python3.13 python3.12 python3.11 python3; do
        new_enough "$name" || continue
        if has_venv "$name"; then
            echo "$name"
            return
        fi
        without=${without:-$name}
    done
    echo "$without"
}

python_install_line() {
    if command -v apt-get >/dev/null; then
        echo "sudo apt-get install python3 python3-venv    # on Debian 12 or Ubuntu 24.04, or later"
    elif command -v dnf >/dev/null; then
        echo "sudo dnf install python3.12"
    elif command -v brew >/dev/null; then
        echo "brew install python@3.12"
    else
        echo "python3 --version    # install Python 3.11 or later so that this finds it"
    fi
}

make_venv() {
    local python own
    python=$(find_python)
    [ -n "$python" ] || stop "no Python 3.11 or later was found." "$(python_install_line)"
    if ! has_venv "$python"; then
        own=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        apt_install "$own" || apt_install python3-venv || true
        has_venv "$python" || stop "$python has no venv module." "sudo apt-get install $own"
    fi
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
}

fingerprint() {
    .venv/bin/python --version
    if command -v sha256sum >/dev/null; then sha256sum pyproject.toml; else shasum -a 256 pyproject.toml; fi
}

set_up_python() {
    new_enough .venv/bin/python || make_venv
    if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(fingerprint)" ]; then
        return
    fi
    say "installing outgrow with all extras into .venv (some minutes the first time)"
    rm -f "$STAMP"
    # Python compiles what is imported when it is: that is a third of what is installed
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[dev]'
    fingerprint >"$STAMP"
}

# ---- Java --------------------------------------------------------------------------------------------------

# The major version of the Java that Spark would start; 0 without one.
java_version() {
    local java=java version
    [ -n "${JAVA_HOME:-}" ] && java="$JAVA_HOME/bin/java"
    # "17.0.15" is 17, and "1.8.0_412" is 8
    version=$("$java" -version 2>&1 | sed -nE 's/.*version "(1\.)?([0-9]+).*/\2/p' | head -n 1) || true
    echo "${version:-0}"
}

java_install_line() {
    if command -v apt-get >/dev/null; then
        echo "sudo apt-get install default-jre-headless"
    elif command -v dnf >/dev/null; then
        echo "sudo dnf install java-21-openjdk-headless"
    elif command -v brew >/dev/null; then
        echo "brew install openjdk@21    # then follow what brew says about the path"
    else
        echo "java -version    # install a Java runtime of version $JAVA_NEEDED or later so that this finds it"
    fi
}

set_up_java() {
    local package
    [ "$(java_version)" -lt "$JAVA_NEEDED" ] || return 0
    if [ -z "${JAVA_HOME:-}" ]; then # a Java that was chosen is not replaced
        for package in default-jre-headless openjdk-21-jre-headless openjdk-17-jre-headless; do
            if apt_install "$package" && [ "$(java_version)" -ge "$JAVA_NEEDED" ]; then
                return 0
            fi
        done
    fi
    if [ "$(java_version)" -ne 0 ]; then
        stop "Spark needs Java $JAVA_NEEDED or later, and this one is Java $(java_version)${JAVA_HOME:+ (JAVA_HOME=$JAVA_HOME)}." \
            "$(java_install_line)"
    fi
    if [ -n "${JAVA_HOME:-}" ]; then
        stop "Spark needs Java $JAVA_NEEDED or later, and there is none at JAVA_HOME=$JAVA_HOME." "unset JAVA_HOME"
    fi
    stop "Spark needs Java $JAVA_NEEDED or later, and there is none." "$(java_install_line)"
}

# ---- Programs of tests -------------------------------------------------------------------------------------

# What the tests start beside Python, and the package of Debian and Ubuntu that has it.
PROGRAMS=(
    "chromium chromium"
    "initdb postgresql"
    "mpirun openmpi-bin"
    "npm npm"
    "prometheus prometheus"
    "redis-server redis-server"
)

has_program() {
    command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

# The packages of those that are missing.
missing_packages() {
    local program package
    for entry in "${PROGRAMS[@]}"; do
        read -r program package <<<"$entry"
        has_program "$program" || echo "$package"
    done
}

set_up_programs() {
    local packages package
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]})) || return 0
    if ! apt_install "${packages[@]}" 2>/dev/null; then # one that is not to be had keeps none of the others away
        for package in "${packages[@]}"; do apt_install "$package" 2>/dev/null || true; done
    fi
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]})) || return 0
    say "not installed, so the tests that start them are skipped: ${packages[*]}"
}

programs=
if [ "${1:-}" = --programs ]; then
    set_up_programs &
    programs=$!
fi
set_up_python
set_up_java
[ -z "$programs" ] || wait "$programs"
