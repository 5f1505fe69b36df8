#!/bin/sh
# Sets up what the project needs, once: Bun and the packages from the npm registry, and the compiled kernels of the CPU device.
# With --adapter also a Vulkan driver that Dawn accepts, where no adapter is usable: the tests of the WGSL kernels need one.
# With --browser also Chromium, where none is found: the tests of the chat page need it.
# Changes nothing that is already right, says what it does, and never asks.
# Prints the path of Bun on stdout; everything else goes to stderr.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
fail() { echo "setup: $*" >&2; exit 1; }
works() { [ -n "$1" ] && "$1" --version >/dev/null 2>&1; }

# Bun: the project's own, else its platform package (where install scripts are off), else one on the PATH.
find_bun() {
  for candidate in node_modules/.bin/bun node_modules/@oven/bun-*/bin/bun node_modules/.setup/node_modules/.bin/bun \
    node_modules/.setup/node_modules/@oven/bun-*/bin/bun; do
    if [ -x "$candidate" ] && works "$PWD/$candidate"; then echo "$PWD/$candidate"; return; fi
  done
  candidate=$(command -v bun 2>/dev/null || true)
  if works "$candidate"; then echo "$candidate"; fi
}

stamp=node_modules/.setup/done
adapter=node_modules/.setup/adapter
has_flag() { # a flag, then what was given
  wanted=$1
  shift
  for given in "$@"; do if [ "$given" = "$wanted" ]; then return 0; fi; done
  return 1
}
wants_adapter() { has_flag --adapter "$@" && [ ! -f "$adapter" ]; }
wants_browser() { has_flag --browser "$@" && [ ! -x "${CHROMIUM:-}" ] && ! command -v chromium >/dev/null 2>&1; }
kernels_built() {
  [ -f dist/kernels.wasm ] && [ -f dist/kernels-plain.wasm ] && [ -f dist/kernels-x64.bin ] && [ -f dist/tales-rule.js ] &&
    [ -z "$(find kernels/cpu scripts/build-kernels.ts -newer dist/kernels-plain.wasm | head -n 1)" ] &&
    [ -z "$(find src/device/cpu/native -newer dist/kernels-x64.bin | head -n 1)" ] &&
    [ -z "$(find scripts/tales data/tales-rule.ts data/world.json -newer dist/tales-rule.js | head -n 1)" ]
}
state=$(cksum bun.lock package.json scripts/setup.sh | cksum | cut -d' ' -f1)

bun=$(find_bun)
installed() { [ -n "$bun" ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$state" ]; }
if installed && kernels_built && ! wants_adapter "$@" && ! wants_browser "$@"; then echo "$bun"; exit 0; fi

if [ -z "$bun" ]; then
  command -v npm >/dev/null 2>&1 || fail "neither Bun nor npm is here; install Node.js with npm, or Bun"
  version=$(sed -n 's/^ *"bun": "\([0-9.]*\)".*/\1/p' package.json)
  say "installing Bun $version from the npm registry"
  mkdir -p node_modules/.setup
  npm install --no-save --no-package-lock --no-audit --no-fund --loglevel=error --prefix node_modules/.setup "bun@$version" >&2 ||
    fail "Bun could not be installed from the npm registry"
  bun=$(find_bun)
  [ -n "$bun" ] || fail "the installed Bun does not run on this machine"
fi

if ! installed; then
  say "installing packages by bun.lock"
  "$bun" install --frozen-lockfile >&2 || fail "the packages could not be installed"
  bun=$(find_bun)
  mkdir -p node_modules/.setup
  echo "$state" >"$stamp"
fi
if ! kernels_built; then
  say "compiling the kernels of the CPU device"
  "$bun" scripts/build-kernels.ts >&2 || fail "the kernels of the CPU device could not be compiled"
fi

# The mirror that this machine gets Debian from, by its own apt sources: deb822 files, else one-line files.
debian_mirror() {
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] || continue
    awk 'tolower($1) == "uris:" { uri = $2 }
         tolower($1) == "suites:" { for (i = 2; i <= NF; i++) if ($i == "bookworm" && uri != "") { print uri; exit } }' "$file"
  done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] || continue
    sed -n 's/^deb  *\(\[[^]]*\]  *\)\{0,1\}\([^ ]*\)  *bookworm  *.*/\2/p' "$file"
  done
}

install_driver() {
  needs="a Vulkan driver that Dawn accepts is missing: install mesa-vulkan-drivers 25 or newer (on Debian 12: from bookworm-backports)"
  [ "$(uname -s)" = Linux ] || fail "no usable WebGPU adapter was found; update the graphics driver"
  command -v apt-get >/dev/null 2>&1 || fail "$needs with this system's package manager, then run this again"
  [ "$(id -u)" = 0 ] || fail "$needs as root, then run this again"
  export DEBIAN_FRONTEND=noninteractive
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  if [ "$codename" = bookworm ]; then
    say "no usable adapter: installing mesa-vulkan-drivers from bookworm-backports, whose source is added for this step only"
    mirror=$(debian_mirror | head -n 1)
    [ -n "$mirror" ] || fail "$needs: no Debian mirror stands in /etc/apt"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    signed=""
    [ -f "$keyring" ] && signed="[signed-by=$keyring] "
    list=/etc/apt/sources.list.d/dawngrad-backports.list
    trap 'rm -f "$list"' EXIT
    echo "deb ${signed}$mirror bookworm-backports main" >"$list"
    apt-get update -qq >&2 || fail "apt-get update failed"
    apt-get install -y -qq -t bookworm-backports mesa-vulkan-drivers >&2 || fail "$needs"
    rm -f "$list"
  else
    say "no usable adapter: installing mesa-vulkan-drivers"
    apt-get update -qq >&2 || fail "apt-get update failed"
    apt-get install -y -qq mesa-vulkan-drivers >&2 || fail "$needs"
  fi
}

if wants_adapter "$@"; then
  if ! "$bun" scripts/has-adapter.ts; then
    install_driver
    "$bun" scripts/has-adapter.ts || fail "still no usable adapter; \`npm run dev doctor\` says what is missing"
  fi
  touch "$adapter"
fi
if wants_browser "$@"; then
  needs="Chromium is missing: install it with this system's package manager, or name its program by CHROMIUM"
  command -v apt-get >/dev/null 2>&1 || fail "$needs"
  [ "$(id -u)" = 0 ] || fail "$needs"
  say "installing chromium"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 || fail "apt-get update failed"
  apt-get install -y -qq --no-install-recommends chromium fonts-liberation >&2 || fail "$needs"
fi
echo "$bun"
