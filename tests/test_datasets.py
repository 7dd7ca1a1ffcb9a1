"""Data sets: synthetic matrices, pictures, and MovieLens and those of MNIST where they are found."""

import gzip
import hashlib
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from undertow import datasets
from undertow.datasets import _mnist, _movielens, _places

# Synthetic ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "rank", "norm"), [((7, 5), 2, None), ((4, 9), 4, 3.5), ((1, 1), 1, None)])
def test_low_rank_matrix(getkey, shape: tuple[int, int], rank: int, norm: float | None) -> None:
    key = getkey()
    matrix = datasets.low_rank_matrix(key, shape, rank, norm)
    singular = np.linalg.svd(np.asarray(matrix), compute_uv=False)
    assert matrix.shape == shape
    assert np.sum(singular > 1e-10 * singular[0]) == rank
    # Exact up to the rounding of a sum of squares.
    expected = np.sqrt(shape[0] * shape[1]) if norm is None else norm
    np.testing.assert_allclose(np.linalg.norm(np.asarray(matrix)), expected, rtol=1e-12)
    np.testing.assert_array_equal(matrix, datasets.low_rank_matrix(key, shape, rank, norm))
    assert not jnp.array_equal(matrix, datasets.low_rank_matrix(getkey(), shape, rank, norm)) or shape == (
        1,
        1,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((3, 4), 4), "rank: expected at most 3"),
        (((3, 4), 0), "rank: expected an integer of at least 1"),
        (((3, 0), 1), "shape: expected 2 positive integers"),
        (((3, 4), 1, 0.0), "frobenius_norm: expected"),
        (((3, 4), 1, float("nan")), "frobenius_norm: expected"),
    ],
)
def test_low_rank_matrix_refuses(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.low_rank_matrix(jax.random.key(0), *arguments)


# Pictures of shapes -----------------------------------------------------------------------------


def test_pictures_are_drawn_from_their_seven_factors():
    found = datasets.shape_images(3, 400)
    colors, (x, y, size, square) = found.factors[:, :3], found.factors[:, 3:].T
    assert found.images.dtype == np.uint8
    assert set(np.unique(x)) == set(np.unique(y)) == set(range(8, 25))
    assert set(np.unique(size)) == set(range(3, 9))
    assert set(np.unique(square)) == {0, 1}
    assert 0.4 < square.mean() < 0.6
    assert 0.45 < colors.mean() < 0.55  # the standard error is 0.008
    for i in range(400):  # one by one, where the library draws all at once
        expected = np.zeros((32, 32, 3), np.uint8)
        for row in range(32):
            for column in range(32):
                across, down = column - x[i], row - y[i]
                in_square = 0 <= across < size[i] and 0 <= down < size[i]
                if in_square if square[i] else np.hypot(across, down) <= size[i]:
                    expected[row, column] = np.rint(255 * colors[i])
        np.testing.assert_array_equal(found.images[i], expected)


def test_parts_of_pictures_are_apart_and_repeatable():
    parts = {part: datasets.shape_images(0, 300, part).images for part in ("train", "validation", "test")}
    np.testing.assert_array_equal(parts["train"], datasets.shape_images(0, 300).images)
    rows = np.concatenate([images.reshape(300, -1) for images in parts.values()])
    assert len(np.unique(rows, axis=0)) == 900
    assert np.abs(datasets.shape_images(1, 300).factors - datasets.shape_images(0, 300).factors).max() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0), "count: expected an integer of at least 1"),
        ((0, 3, "valid"), "part: unknown choice 'valid'.*validation"),
    ],
)
def test_wrong_pictures_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.shape_images(*arguments)


def test_margins():
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    padded = datasets.pad_images(images, 6)
    assert padded.dtype == np.uint8
    np.testing.assert_array_equal(padded[:, 1:4, 1:5], images)
    assert padded.sum(dtype=int) == images.sum(dtype=int)
    assert datasets.pad_images(images[..., None], 6).shape == (2, 6, 6, 1)
    with pytest.raises(ValueError, match="size: expected at least 4, as images have, found 3"):
        datasets.pad_images(images, 3)
    with pytest.raises(ValueError, match=r"images: expected shape \(n, rows, columns\)"):
        datasets.pad_images(images[0], 6)


def test_digits_as_images_are_the_rows_of_the_matrix():
    digits = datasets.load_digits_images()
    np.testing.assert_array_equal(digits.images.reshape(-1, 64), datasets.load_digits_matrix())
    assert np.bincount(digits.labels).min() == 174  # as scikit-learn describes the set


@pytest.mark.parametrize(
    ("shape", "count"),
    [((6, 7), 42), ((6, 7), 1), ((200, 300), 500), ((10**6, 10**6), 1000), ((3, 4, 5), 20)],
)
def test_observe(getkey, shape: tuple[int, ...], count: int) -> None:
    key = getkey()
    indices = datasets.observe(key, shape, count)
    assert len(indices) == len(shape)
    assert all(index.shape == (count,) and np.issubdtype(index.dtype, np.integer) for index in indices)
    flat = np.ravel_multi_index(indices, shape)
    assert np.all(np.diff(flat) > 0)  # sorted, and each once
    for index, again in zip(indices, datasets.observe(key, shape, count), strict=True):
        np.testing.assert_array_equal(index, again)


def test_observe_is_uniform(getkey) -> None:
    draws = 500
    seen = np.zeros((3, 4))
    for key in jax.random.split(getkey(), draws):
        seen[datasets.observe(key, (3, 4), 5)] += 1
    # Each entry is a binomial count of mean 208 and standard deviation 11; twelve of them stay within
    # five deviations but for one run in a hundred thousand, and the key is fixed.
    assert np.abs(seen - draws * 5 / 12).max() < 5 * np.sqrt(draws * 5 / 12 * 7 / 12)


def test_observe_takes_every_kind_of_key_and_refuses() -> None:
    expected = datasets.observe(jax.random.key(3), (9, 9), 10)
    np.testing.assert_array_equal(expected, datasets.observe(3, (9, 9), 10))
    np.testing.assert_array_equal(expected, datasets.observe(jax.random.PRNGKey(3), (9, 9), 10))
    with pytest.raises(ValueError, match="count: expected at most 6"):
        datasets.observe(0, (2, 3), 7)
    with pytest.raises(ValueError, match="count: expected an integer of at least 1"):
        datasets.observe(0, (2, 3), 0)
    with pytest.raises(ValueError, match=r"below 2\*\*63 entries"):
        datasets.observe(0, (2**32, 2**32), 7)


# Pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["china", "flower"])
def test_photograph(name: str) -> None:
    whole = datasets.load_photograph(name)
    assert whole.shape == (427, 640)
    assert whole.dtype == np.float32
    assert 0 <= whole.min() < 0.2
    assert 0.8 < whole.max() <= 1
    np.testing.assert_array_equal(datasets.load_photograph(name, size=(427, 640)), whole)
    # Averages of blocks of 7 x 7 from the middle: all 427 = 7 * 61 rows, and 560 = 7 * 80 columns.
    small = datasets.load_photograph(name, size=(61, 80))
    middle = whole[:, 40:600].reshape(61, 7, 80, 7).mean((1, 3))
    np.testing.assert_allclose(small, middle, atol=1e-5)  # sums of 49 numbers in float32
    assert datasets.load_photograph(name, size=30).shape == (30, 30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("chin",), "did you mean 'china'"),
        (("china", 0), "size: expected"),
        (("china", (428, 9)), "size: expected at most"),
    ],
)
def test_photograph_refuses(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.load_photograph(*arguments)


def test_digits() -> None:
    digits = datasets.load_digits_matrix()
    assert digits.shape == (1797, 64)
    assert digits.dtype == np.float32
    assert (digits.min(), digits.max()) == (0, 1)
    np.testing.assert_array_equal(digits * 16, np.round(digits * 16))


# MovieLens ------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder where nothing is found, and no other place to look but UNDERTOW_DATA within it."""
    monkeypatch.setattr(_places, "folders", lambda: [tmp_path / "given"])
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    (tmp_path / "given").mkdir()
    (tmp_path / "cache").mkdir()
    return tmp_path


def test_movielens_says_where_it_looked(nowhere: Path) -> None:
    with pytest.raises(datasets.DataNotFound, match=r"given.*cache.*UNDERTOW_DATA.*download=True"):
        datasets.load_movielens_100k()
    assert issubclass(datasets.DataNotFound, FileNotFoundError)


def test_movielens_looks_where_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNDERTOW_DATA", str(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path)
    assert _places.folders()[:2] == [tmp_path / "mine", tmp_path.parent / "shared" / "data"]


@pytest.mark.parametrize("place", ["movielens-100k/u.data.gz", "ml-100k/u.data"])
def test_movielens_checks_what_it_finds(nowhere: Path, place: str) -> None:
    path = nowhere / "given" / place
    path.parent.mkdir()
    path.write_bytes(gzip.compress(b"1\t2\t3\t4\n") if place.endswith(".gz") else b"1\t2\t3\t4\n")
    with pytest.raises(ValueError, match=r"expected u\.data with sha256 06416e59"):
        datasets.load_movielens_100k()
    path.write_bytes(path.read_bytes()[:6])
    with pytest.raises(ValueError, match=r"u\.data"):
        datasets.load_movielens_100k()


def test_movielens_takes_one_member_of_the_archive(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"1\t2\t3\t4\n2\t3\t5\t4\n"
    monkeypatch.setattr(_movielens, "_DATA_SHA256", hashlib.sha256(content).hexdigest())
    with zipfile.ZipFile(nowhere / "cache" / "ml-100k.zip", "w") as archive:
        archive.writestr("../outside", "no")
        archive.writestr("ml-100k/u.data", content)
    table = datasets.load_movielens_100k()
    assert table.ratings.tolist() == [3.0, 5.0]
    assert [path.name for path in (nowhere / "cache").iterdir()] == ["ml-100k.zip"]
    (nowhere / "cache" / "ml-100k.zip").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"expected a zip archive with ml-100k/u\.data"):
        datasets.load_movielens_100k()


def test_movielens_is_fetched_only_when_asked(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(url: str, known_hash: str, **_: object) -> None:
        asked.append((url, known_hash))
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", refuse)
    with pytest.raises(datasets.DataNotFound):
        datasets.load_movielens_100k()
    assert asked == []
    with pytest.raises(ConnectionError):
        datasets.load_movielens_100k(download=True)
    assert asked[0][0].startswith("https://files.grouplens.org/")
    assert asked[0][1].startswith("sha256:50d2a982")


@pytest.mark.data
def test_movielens() -> None:
    try:
        table = datasets.load_movielens_100k()
    except datasets.DataNotFound as error:
        pytest.skip(str(error))
    assert table.shape == (943, 1682)
    assert len(table) == 100_000
    assert np.unique(table.ratings).tolist() == [1, 2, 3, 4, 5]
    assert sorted(map(int, table.user_ids)) == list(range(1, 944))
    assert sorted(map(int, table.item_ids)) == list(range(1, 1683))
    assert (table.user_ids[0], table.item_ids[0], table.ratings[0]) == ("196", "242", 3.0)


# MNIST and Fashion-MNIST ----------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    """The array in the IDX format: zeros, the type, the number of axes, their lengths, the numbers."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_images(folder: Path, *, packed: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    made = []
    for name in _mnist.FILES:
        shape = (3, 28, 28) if "images" in name else (3,)
        made.append(rng.integers(0, 10, shape, np.uint8))
        content = idx(made[-1])
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return made


@pytest.mark.parametrize(
    ("place", "packed"), [("given/mnist", True), ("given/MNIST/raw", False), ("cache/mnist", True)]
)
def test_mnist_reads_what_it_finds(nowhere: Path, monkeypatch: pytest.MonkeyPatch, place: str, packed: bool) -> None:
    made = write_images(nowhere / place, packed=packed)
    monkeypatch.setitem(_mnist.CONTENT, "mnist", tuple(hashlib.sha256(idx(array)).hexdigest() for array in made))
    found = datasets.mnist()
    for array, expected in zip(found, made, strict=True):
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, expected)
    assert found.test_images.shape == (3, 28, 28)
    assert repr(found).startswith("LabeledImages(train_images=u8[3,28,28]")


def test_mnist_checks_what_it_finds(nowhere: Path) -> None:
    write_images(nowhere / "given" / "fashion-mnist", packed=True)
    with pytest.raises(ValueError, match=r"expected train-images-idx3-ubyte with sha256 c59f468a"):
        datasets.fashion_mnist()


def test_mnist_says_where_it_looked(nowhere: Path) -> None:
    with pytest.raises(datasets.DataNotFound, match=r"train-images.*given.*cache.*UNDERTOW_DATA.*download=True"):
        datasets.mnist()


def test_mnist_is_fetched_only_when_asked(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(url: str, known_hash: str, fname: str, path: Path) -> None:
        asked.append((url, known_hash))
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", fetch)
    with pytest.raises(datasets.DataNotFound):
        datasets.fashion_mnist()
    assert asked == []
    with pytest.raises(ConnectionError):
        datasets.fashion_mnist(download=True)
    assert asked[0][0].endswith("/train-images-idx3-ubyte.gz")
    assert asked[0][1].startswith("md5:8d4fb7e6")


@pytest.mark.data
@pytest.mark.parametrize("load", [datasets.mnist, datasets.fashion_mnist])
def test_mnist(load) -> None:
    try:
        found = load()
    except datasets.DataNotFound as error:
        pytest.skip(str(error))
    assert [array.shape for array in found] == [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # as published; Fashion-MNIST is balanced
    expected = counts if load is datasets.mnist else [6000] * 10
    assert np.bincount(found.train_labels).tolist() == expected


# A folder of pictures -----------------------------------------------------------------------------


def save(folder: Path, name: str, pixels: np.ndarray, mode: str | None = None) -> None:
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image if mode is None else image.convert(mode)).save(folder / name)


def test_pictures_of_a_folder_come_by_name_and_whole(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    for name, picture in zip(("b.PNG", "a.bmp", "c.png"), pictures, strict=True):
        save(tmp_path, name, picture)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_text("no picture")
    expected = pictures[[1, 0, 2]]
    np.testing.assert_array_equal(datasets.load_image_folder(tmp_path), expected)
    np.testing.assert_array_equal(datasets.load_image_folder(tmp_path, crop=(2, 4)), expected[:, 1:3, 1:5])
    # A square out of the middle, each pixel the mean of four; Pillow rounds.
    halves = expected[:, :, 1:5].reshape(3, 2, 2, 2, 2, 3).mean((2, 4))
    for found in (datasets.load_image_folder(tmp_path, 2), datasets.load_image_folder(tmp_path, (2, 2), crop=4)):
        assert np.abs(found - halves).max() <= 1
    gray = datasets.load_image_folder(tmp_path, mode="L")
    assert np.abs(gray - expected @ [0.299, 0.587, 0.114]).max() <= 1

    file = tmp_path / "images.npy"
    file.write_text("an older one")
    mapped = datasets.load_image_folder(tmp_path, file=file)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, expected)
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_gray_pictures_have_no_channels_and_turned_ones_are_turned(tmp_path: Path) -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    tags = Image.Exif()
    tags[0x0112] = 6  # the camera was held on its side
    Image.fromarray(picture).save(tmp_path / "a.png", exif=tags)
    np.testing.assert_array_equal(datasets.load_image_folder(tmp_path), np.rot90(picture, -1)[None])
    assert datasets.load_image_folder(tmp_path, mode="RGB").shape == (1, 4, 3, 3)


def test_folders_are_refused_by_name_and_nothing_is_left(tmp_path: Path) -> None:
    square, load = np.zeros((4, 4, 3), np.uint8), datasets.load_image_folder
    with pytest.raises(ValueError, match=r"none among 0; folders below"):
        load(tmp_path)
    save(tmp_path, "a.png", square)
    for spoil, arguments, message in (
        (lambda: (tmp_path / "b.jpg").write_bytes(b"\xff\xd8"), {}, "b.jpg cannot be read"),
        (
            lambda: save(tmp_path, "b.png", np.zeros((4, 5, 3))),
            {},
            "4 x 4, as a.png has, found 4 x 5 in b.png",
        ),
        (lambda: save(tmp_path, "b.png", square, "L"), {}, "expected RGB, as a.png has, found L in b.png"),
        (lambda: save(tmp_path, "b.png", square, "P"), {}, "expected L or RGB, found P in b.png"),
        (lambda: save(tmp_path, "b.png", square, "RGBA"), {"mode": "RGB"}, "mode RGBA in b.png"),
        (lambda: save(tmp_path, "b.png", square, "I;16"), {"mode": "L"}, "mode I;16 in b.png"),
        (lambda: save(tmp_path, "b.png", square[:2]), {"size": 4}, "at most 2 x 4, as b.png has, found 4 x 4"),
        (lambda: save(tmp_path, "b.png", square[:2]), {"crop": 3}, "at most 2 x 4, as b.png has, found 3 x 3"),
        (lambda: None, {"mode": "rgb"}, "mode: unknown choice"),
        (lambda: None, {"size": 0}, "size: expected"),
    ):
        spoil()
        with pytest.raises(ValueError, match=message):
            load(tmp_path, file=tmp_path / "out.npy", **arguments)
        assert {path.name for path in tmp_path.iterdir()} <= {"a.png", "b.png", "b.jpg"}
        for name in ("b.png", "b.jpg"):
            (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="is not there"):
        load(tmp_path / "none")
    with pytest.raises(NotADirectoryError, match="is no folder"):
        load(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="folder that exists"):
        load(tmp_path, file=tmp_path / "none" / "out.npy")
