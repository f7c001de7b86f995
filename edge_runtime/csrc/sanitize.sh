#!/bin/sh
# Build the kernels with AddressSanitizer and UndefinedBehaviorSanitizer (gcc) and run their tests on that build.
# Run from the repository root; PYTHON names an interpreter with the dev extra and setuptools (default: python):
#   sh edge_runtime/csrc/sanitize.sh [pytest options]
set -eu

python=${PYTHON:-python}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp -R edge_runtime/facegate_edge "$work/"
rm -f "$work"/facegate_edge/_native*.so  # an extension built in place would be found first
CC=gcc FACEGATE_SANITIZE=1 FACEGATE_WERROR=1 "$python" setup.py -q build_ext --build-lib "$work" --build-temp "$work/temp"

# PYTHONMALLOC=malloc: buffers that cffi makes get red zones of their own. Leaks of the interpreter are not ours.
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 \
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    PYTHONMALLOC=malloc \
    PYTHONPATH="$work" \
    "$python" -m pytest -q -p no:cacheprovider tests/edge_runtime/test_kernels_*.py "$@"
