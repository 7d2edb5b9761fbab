#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that building and testing need; with --dev also those for formatting,
# linting, clang builds and fuzzing. Says what it will do, asks for nothing but sudo's
# password, and does nothing when all is there.
set -euo pipefail

readonly BUILD_PACKAGES=(
  g++ make cmake ninja-build pkg-config git
  libdnnl-dev ocl-icd-opencl-dev libhwy-dev
  nlohmann-json3-dev libfmt-dev libcli11-dev
  libpng-dev libzip-dev libssl-dev libsentencepiece-dev libeigen3-dev
  libgtest-dev libgmock-dev
)
readonly DEV_PACKAGES=(
  clang-14 libclang-rt-14-dev libomp-14-dev clang-format-14 clang-tidy-14
  ccache
)

usage() {
  echo "usage: scripts/setup.sh [--dev]"
}

fail() {
  echo "setup: $*" >&2
  exit 1
}

# Prints those of the packages "$@" that are not installed.
missing_packages() {
  local installed
  installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "$@" 2>/dev/null || true) "
  local package
  for package in "$@"; do
    [[ "$installed" == *" installed:$package "* ]] || echo "$package"
  done
}

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "this needs root: run it as root, or install sudo"
  fi
}

main() {
  local packages=("${BUILD_PACKAGES[@]}")
  case "${1-}" in
    "") ;;
    --dev) packages+=("${DEV_PACKAGES[@]}") ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "got the argument $1" ;;
  esac

  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    fail "this is not a Debian system; install the equivalents of: ${packages[*]}"
  fi
  local missing
  mapfile -t missing < <(missing_packages "${packages[@]}")
  if [[ ${#missing[@]} -eq 0 ]]; then
    echo "setup: all ${#packages[@]} packages are installed"
    return
  fi

  local id="" version=""
  id=$(. /etc/os-release && echo "${ID-}")
  version=$(. /etc/os-release && echo "${VERSION_ID-}")
  if [[ "$id $version" != "debian 12" ]]; then
    echo "setup: this is $id $version; only Debian 12 is tested" >&2
  fi
  echo "setup: will install ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  as_root apt-get update -q </dev/null || echo "setup: apt-get update failed; trying to install" >&2
  as_root apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null ||
    fail "apt-get could not install the packages; its messages above say why"
  echo "setup: done"
}

main "$@"
