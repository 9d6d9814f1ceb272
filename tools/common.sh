# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by demo, check and bench: the checkout, the packages.
# The quotes in messages are meant.
# shellcheck shell=bash disable=SC1111

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die ()
{
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

need_root ()
{
  [ "$(id -u)" = 0 ] || die "needs root for namespaces and packages: run “sudo tools/${0##*/}”"
}

# Installs with apt what tools/packages names, for this architecture, and is not there yet.
install_packages ()
{
  local missing=() package only
  while read -r package only; do
    case $package in '' | '#'*) continue ;; esac
    case $only in '' | "[$(dpkg --print-architecture)]") ;; *) continue ;; esac
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
  done <"$top/tools/packages"
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "needs ${missing[*]}: install them (there is no apt-get here to do it)"
  echo "Installing: ${missing[*]}"
  apt-get update -q >/dev/null || die "“apt-get update” failed"
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null ||
    die "“apt-get install ${missing[*]}” failed"
}

# configure FOLDER OPTION…: makes the build folder, or brings it up to these options.
configure ()
{
  local folder=$1
  shift
  if [ -e "$folder/build.ninja" ]; then
    meson setup --reconfigure "$folder" "$top" "$@" >"$folder.log" 2>&1
  else
    mkdir -p "$(dirname "$folder")"
    rm -rf "$folder"
    meson setup "$folder" "$top" "$@" >"$folder.log" 2>&1
  fi || { cat "$folder.log"; die "meson does not configure $folder"; }
  rm -f "$folder.log"
}
