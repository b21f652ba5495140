"""Data packed as Parquet shards and token streams, in a folder or behind a URL, and read back as fast as it is used."""

from pennyweight.data.columnar.column import Column
from pennyweight.data.columnar.manifest import Manifest, Part, Shard
from pennyweight.data.columnar.reading import Packed
from pennyweight.data.columnar.stream import Flow, Stream
from pennyweight.data.columnar.tokens import TokenStream, pack_tokens
from pennyweight.data.columnar.writing import Packing, Rows, pack, pack_splits

__all__ = [
    "Column",
    "Flow",
    "Manifest",
    "Packed",
    "Packing",
    "Part",
    "Rows",
    "Shard",
    "Stream",
    "TokenStream",
    "pack",
    "pack_splits",
    "pack_tokens",
]
