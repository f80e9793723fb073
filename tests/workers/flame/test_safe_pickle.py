"""A pickle is read as data; whatever else it asks for is refused by name and never run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.flame.official import read_contour_bins, read_model
from workers.flame.pickled_arrays import FLAME_GLOBALS, CscMatrix, plain_array
from workers.flame.safe_pickle import BadPickleError, ForbiddenGlobalError, loads

MARKER = "SYNTHFORGE_UNSAFE_PICKLE_EXECUTED"

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.sets(st.integers()),
    lambda parts: (
        st.lists(parts)
        | st.lists(parts, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), parts)
    ),
    max_leaves=20,
)
protocols = st.integers(0, pickle.HIGHEST_PROTOCOL)


class Calls:
    """Pickles to a call of a function with arguments, as a hostile file does."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self._call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


class ArrayWithState:
    """Pickles to an ndarray with any state at all."""

    def __init__(self, *state: object) -> None:
        self._state = state

    def __reduce__(self) -> tuple[object, ...]:
        return *np.zeros(0).__reduce__()[:2], self._state


def _read(data: bytes) -> object:
    return loads(data, FLAME_GLOBALS, source="some.pkl")


@given(plain_values, protocols)
def test_plain_data_of_every_protocol_comes_back(value: object, protocol: int) -> None:
    assert _read(pickle.dumps(value, protocol)) == value


@given(st.sampled_from(["<f8", ">f4", "<u4", "|u1", "<i8", "?"]), protocols, st.booleans())
def test_arrays_of_every_protocol_come_back(dtype: str, protocol: int, by_columns: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    array = np.asfortranarray(array) if by_columns else array
    found = plain_array(_read(pickle.dumps(array, protocol)))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(protocols)
def test_a_numpy_number_comes_back(protocol: int) -> None:
    assert _read(pickle.dumps(np.float64(0.1), protocol)) == 0.1


def test_a_string_of_python_2_keeps_every_byte() -> None:
    assert _read(b"S'a\\x00\\xff\\n\\'b'\np0\n.") == "a\x00\xff\n'b"
    assert _read(b"U\x03a\x00\xff.") == "a\x00\xff"


@given(plain_values, protocols, st.data())
def test_a_torn_pickle_is_one_clear_error(
    value: object, protocol: int, data: st.DataObject
) -> None:
    whole = pickle.dumps(value, protocol)
    torn = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(BadPickleError, match=r"^some\.pkl cannot be read at byte \d+: [^\n]+$"):
        _read(torn)


@given(st.binary(max_size=200))
def test_noise_is_data_or_a_clear_error(noise: bytes) -> None:
    try:
        _read(noise)
    except BadPickleError as error:
        assert "\n" not in str(error)  # noqa: PT017


@given(st.data())
def test_a_damaged_file_is_data_or_a_clear_error(data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps({"v": np.arange(6.0).reshape(2, 3), "s": {1}}, 2))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        _read(bytes(whole))
    except BadPickleError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("function", "args", "spelt"),
    [
        (os.mkdir, (MARKER,), "mkdir"),
        (eval, (f"__import__('os').mkdir({MARKER!r})",), "eval"),
        (getattr, ("os", "mkdir"), "getattr"),
        (np.save, (MARKER, [1]), "save"),
    ],
)
def test_a_hostile_call_is_refused_by_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: int,
    function: Callable[..., object],
    args: tuple[object, ...],
    spelt: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ForbiddenGlobalError) as caught:
        _read(pickle.dumps({"v_template": Calls(function, *args)}, protocol))
    assert caught.value.asked_for.endswith(f".{spelt}")
    assert caught.value.asked_for in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "asked_for"),
    [
        (b"(S'x'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'x'\no.", "os.system"),
        (
            b"cnumpy.testing._private.utils\nrunstring\n(S'x'\n}tR.",
            "numpy.testing._private.utils.runstring",
        ),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"cchumpy.ch\nCh.__init__\n.", "chumpy.ch.Ch.__init__"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x0aset.update\x93.", "builtins.set.update"),
        (b"ccopy_reg\n_extension_registry\n.", "copy_reg._extension_registry"),
    ],
)
def test_every_way_to_name_a_global_is_checked(data: bytes, asked_for: str) -> None:
    with pytest.raises(ForbiddenGlobalError) as caught:
        _read(data)
    assert caught.value.asked_for == asked_for


@pytest.mark.parametrize("name", ["evil_builtin_eval", "evil_os_mkdir", "evil_py3_eval"])
def test_the_recorded_hostile_files_are_refused(
    shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    data = (shared_dir / "fixtures" / "flame" / f"{name}.pkl").read_bytes()
    with pytest.raises(ForbiddenGlobalError, match=r"os\.mkdir|builtins?__\.eval|builtins\.eval"):
        read_model(data, name)
    assert not (tmp_path / MARKER).exists()


def test_a_hostile_pickle_in_a_npy_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    box = np.empty((), dtype=object)
    box[()] = Calls(os.mkdir, MARKER)
    np.save("evil.npy", box, allow_pickle=True)
    with pytest.raises(ForbiddenGlobalError, match="mkdir"):
        read_contour_bins((tmp_path / "evil.npy").read_bytes(), "evil.npy")
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ((1, (10**12, 3), np.dtype("f8"), False, b"1234"), r"needs 24000000000000 bytes"),
        ((1, (-1,), np.dtype("f8"), False, b""), r"shape of an array is malformed"),
        ((1, (1,) * 40, np.dtype("f8"), False, b"12345678"), r"shape of an array is malformed"),
        ((1, (2,), np.dtype("O"), False, [1]), r"as many as its shape"),
        ((1, (1,), "f8", False, b"12345678"), r"dtype of an array is malformed"),
        ((1, (0, 2**70), np.dtype("f8"), False, b""), r"[Ii]nt|size|dimension"),
        ((1, (2,), np.dtype("U4"), False, b"\0" * 32), r"is no bool, integer or float"),
        ((1, (2,)), r"state of an array is malformed"),
    ],
)
def test_a_bogus_array_is_refused_before_it_is_made(state: tuple[object, ...], says: str) -> None:
    with pytest.raises(BadPickleError, match=says) as caught:
        _read(pickle.dumps(ArrayWithState(*state), 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"B\xff\xff\xff\x7fabc.", "more bytes announced"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "more bytes announced"),
        (b"T\xff\xff\xff\xffabc.", "more bytes announced"),
        (b"]r\xff\xff\xff\xff.", None),  # a memo number of 2^32 - 1 costs nothing
        (b"]K\x01K\x02s.", "dictionary"),
        (b"})\x85K\x02s.", "a key is a tuple"),
        (b"\x80\x09.", "protocol 9"),
        (b"\x82\x01.", "instruction 0x82"),
        (b"Pname\n.", "persistent id"),
        (b"K\x01)R.", "not a global"),
        (b"K\x01}b.", "takes none"),
        (b"cnumpy\nndarray\n)R.", "numpy.ndarray: it may be named there but not called"),
        (b"e.", "mark"),
        (b"h\x05.", "memo 5"),
        (b"", "torn"),
        (b"Ixyz\n.", "not decimal"),
        (b"Fxyz\n.", "not a float"),
        (b"Sabc\n.", "not quoted"),
        (b"S'\\x0'\n.", "broken escape"),
        (b"X\x01\x00\x00\x00\xff.", "not utf-8"),
        (b"}(K\x01u.", "without its value"),
        (b"}(K\x01e.", "a list that is none"),
        (b"](K\x01\x90.", "a set that is none"),
        (b"\x8f(]\x90.", "a key is a list"),
        (b"K\x01K\x02\x93.", "not named by two strings"),
        (b"(0.", "stack is empty"),
        (b"cnumpy\ndtype\n(S'f8'\ntR(I3\nS'<'\ntb.", "state of a dtype is malformed"),
        (b"cnumpy\ndtype\n(S'f8'\ntR(I3\nS'<'\nNI1\nNtb.", "dtype with fields"),
        (b"cchumpy.ch\nCh\n)R}b.", "holds no 'x'"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cchumpy.ch\nCh\ntR.", "only a plain ndarray"),
        (
            b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\ncchumpy.ch\nCh\nNtR.",
            "only a plain object",
        ),
        (b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.", "only latin-1"),
        (b"cnumpy.core.multiarray\nscalar\n(S'f8'\nS'a'\ntR.", "dtype of a number"),
        (b"c__builtin__\nset\n((]ltR.", "a set of names or numbers"),
    ],
)
def test_malformed_instructions_are_refused(data: bytes, says: str | None) -> None:
    if says is None:
        assert _read(data) == []
        return
    with pytest.raises(BadPickleError, match=says):
        _read(data)


def test_another_reader_may_take_persistent_ids() -> None:
    data = b"(Pstorage 7\nK\x05Ql."
    found = loads(data, {}, source="some.pkl", persistent_load=lambda key: ("kept", key))
    assert found == [("kept", "storage 7"), ("kept", 5)]


def test_a_stand_in_cannot_be_altered_by_a_file() -> None:
    """BUILD on the stand-in itself would change what the next file is read with."""
    for ref in (b"cnumpy\ndtype\n", b"cchumpy.ch\nCh\n", b"c_codecs\nencode\n"):
        with pytest.raises(BadPickleError, match="takes none"):
            _read(ref + b"}S'build'\nN.".replace(b".", b"sb."))


def test_endless_nesting_ends_no_process() -> None:
    deep = b")" + b"\x85" * 100_000
    assert isinstance(_read(deep + b"."), tuple)
    with pytest.raises(BadPickleError, match="a key is a tuple"):
        _read(b"}" + deep + b"Ns.")


def test_an_array_nested_in_itself_is_refused() -> None:
    loop = b"\x80\x02cchumpy.ch\nCh\n)\x81q\x00}U\x01xh\x00sb."
    with pytest.raises(ValueError, match="wrapped more than"):
        plain_array(_read(loop))


def test_one_array_repeated_in_a_list_does_not_fill_memory() -> None:
    array = np.zeros(1 << 14)
    with pytest.raises(ValueError, match="repeats more numbers"):
        plain_array(_read(pickle.dumps([array] * 9000, 2)))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"_shape": (10**9, 10**9)}, "has shape"),
        ({"indices": [0, 1, 7]}, "outside its shape"),
        ({"indptr": [0, 3, 2, 3]}, "outside its shape"),
        ({"indptr": [0, 3]}, "do not fit"),
        ({"data": [1.0]}, "do not fit"),
        ({"data": "abc"}, "no array of numbers"),
    ],
)
def test_a_bogus_sparse_matrix_is_refused(changed: dict[str, object], says: str) -> None:
    matrix = CscMatrix()
    state = {
        "_shape": (2, 3),
        "data": [1.0, 2.0, 3.0],
        "indices": [0, 1, 1],
        "indptr": [0, 1, 1, 3],
    }
    matrix.build(state | changed)
    with pytest.raises(ValueError, match=says):
        matrix.dense((2, 3))


def test_a_sparse_matrix_is_spread_out() -> None:
    matrix = CscMatrix()
    parts = {"data": [1.0, 2.0, 3.0], "indices": [0, 1, 1], "indptr": [0, 1, 1, 3]}
    matrix.build({"_shape": (2, 3), **parts})
    np.testing.assert_array_equal(matrix.dense((2, 3)), [[1, 0, 0], [0, 0, 5]])
