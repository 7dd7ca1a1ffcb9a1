"""Small tables for the tests of reading and writing them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from undertow.datasets import Matrix, Ratings


def write(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def triples(table: Ratings | Matrix) -> list[tuple[str, str, float]]:
    assert isinstance(table, Ratings)
    return list(
        zip(
            table.user_ids[table.users].tolist(),
            table.item_ids[table.items].tolist(),
            table.ratings.tolist(),
            strict=True,
        )
    )


def parquet(folder: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), folder / "t.parquet")
    return folder / "t.parquet"


def two_by_two(names: tuple[str, str, str] = ("user", "item", "rating")) -> Ratings:
    ids = np.array(["a", "b"], dtype=object), np.array(["x", "y,z"], dtype=object)
    return Ratings(np.array([0, 1, 1]), np.array([0, 1, 0]), np.array([1.0, 2.5, 0.1]), *ids, names)
