"""Writes messages-*.parquet by pyarrow: 300 conversations in row groups of 128, in three compressions. Run: python test/golden/parquet.py."""
import os

import pyarrow as pa
import pyarrow.parquet as pq

here = os.path.dirname(os.path.abspath(__file__))
rows = [
    {
        "prompt": f"p{i}",
        "messages": [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": f"answer {i}"}],
        "score": i,
        "big": 2**40 + i,
    }
    for i in range(300)
]
for compression in ("snappy", "zstd", "gzip"):
    pq.write_table(pa.Table.from_pylist(rows), os.path.join(here, f"messages-{compression}.parquet"), compression=compression, row_group_size=128)
