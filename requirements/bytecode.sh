#!/bin/sh
# Compiles by content what has no .pyc yet, so that no layer of an image holds anew what those below it hold; one file
# after another and in order, for the same bytes each time.
set -e
find /opt/repoloom/lib -name '*.py' | LC_ALL=C sort | while read -r file; do
  name=${file##*/}
  [ -e "${file%/*}/__pycache__/${name%.py}.cpython-311.pyc" ] || echo "$file"
done | python -m compileall -q -f -j 1 -x '/tests?/|/lib2to3/|py312' --invalidation-mode unchecked-hash -i -
