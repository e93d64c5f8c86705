"""Makes models/openai-bpe/merges.txt.gz: the merges that CLIP uses, taken from OpenAI's bpe_simple_vocab_16e6.txt.gz.

Run with any Python 3.9+ that has open_clip 3.3.0 installed (its copy of the file equals OpenAI's: sha256 below).
The output is reproducible, because the gzip header contains no name and no time.
"""

import gzip
import hashlib
import os
import pathlib
import sys

SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"

if len(sys.argv) > 1:
    source = pathlib.Path(sys.argv[1])
else:
    import importlib.util

    source = pathlib.Path(importlib.util.find_spec("open_clip").origin).parent / "bpe_simple_vocab_16e6.txt.gz"
packed = source.read_bytes()
assert hashlib.sha256(packed).hexdigest() == SHA256, "another file than OpenAI's"
lines = gzip.decompress(packed).decode("utf-8").split("\n")
merges = lines[1 : 49152 - 256 - 2 + 1]
assert len(merges) == 48894
root = pathlib.Path(os.path.dirname(os.path.abspath(__file__))).parent
target = root / "models" / "openai-bpe" / "merges.txt.gz"
target.parent.mkdir(parents=True, exist_ok=True)
target.write_bytes(gzip.compress(("\n".join(merges) + "\n").encode("utf-8"), 9, mtime=0))
print(target, target.stat().st_size, "bytes,", len(merges), "merges")
