#!/bin/sh
# Writes variants/heic-8.heic and variants/heic-10.heic, real HEVC in HEIF with 8 and 10 bits, the second one with a
# thumbnail: `sh test/golden/image/heic.sh`. Made with heif-enc of libheif 1.15.1 and x265 3.5 (Debian 12, package
# libheif-examples); other versions write other bytes.
set -e
cd "$(dirname "$0")"
image=$(mktemp -d)/dog.png
node -e "require('sharp')('../../../models/icon-clip/examples/dog.png').flatten({ background: 'white' })
  .resize(64, 64).png().toFile('$image')"
heif-enc -q 30 "$image" -o variants/heic-8.heic
heif-enc -q 30 -b 10 -t 32 "$image" -o variants/heic-10.heic
rm -r "$(dirname "$image")"
