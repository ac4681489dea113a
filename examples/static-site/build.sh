#!/bin/sh
# Makes `public` from `pages`: each page between the same head and foot.
set -eu

mkdir -p public
for page in pages/*.html; do
    echo "making ${page#pages/}"
    cat head.html "$page" foot.html > "public/${page#pages/}"
done
cp style.css public/
