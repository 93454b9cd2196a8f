r"""Text cut into words or characters, all of a batch at once.

What a letter, a digit or a space is, and which text is the lowercase of another, is what Python's `str` says.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow.ml.feature_extraction.terms import Terms
from outgrow.stats.texts import Texts, run_codes

_CODE_POINTS = 0x110000
_ASCII = 0x80
_BLANK = ord(" ")
_LETTERS = 26
_CASE_BIT = 5
"""By it the small letters of ASCII differ from the capital ones."""
_WORD_BYTES = bytes(byte < _ASCII and (chr(byte).isalnum() or chr(byte) == "_") for byte in range(256))
_LEAST_LEADS = np.array([0xC0, 0xE0, 0xF0])
"""The first bytes of characters of two, three and four bytes."""
_LEAD_BITS = np.array([0x1F, 0x0F, 0x07], dtype=np.int32)
_PLAIN_PATTERN = re.compile(r"(?:\(\?u\))?(?P<edge>\\b)?(?P<more>(?:\\w)*)\\w\+(?(edge)\\b)")
r"""Such as `(?u)\b\w\w+\b`: runs of word characters of at least some length."""


def least_length(pattern: str) -> int | None:
    r"""How long the words of a pattern are at least, if it means runs of `\w` and no more; else None.

    Examples
    --------
    >>> least_length(r"(?u)\b\w\w+\b"), least_length(r"\w+"), least_length("[a-z]+")
    (2, 1, None)
    """
    match = _PLAIN_PATTERN.fullmatch(pattern)
    return None if match is None else len(match["more"]) // 2 + 1


def without_accents(text: str) -> str:
    """The text with accents left out, as scikit-learn's `strip_accents_unicode` does."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def as_ascii(text: str) -> str:
    """What ASCII has of the text, as scikit-learn's `strip_accents_ascii` does."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def prepared(documents: pa.Array, lowercase: bool, change: Callable[[str], str] | None) -> Texts:
    """Documents, lowercase and changed.

    Parameters
    ----------
    documents : text without nulls.
    lowercase : whether they become so.
    change : what is done with them afterwards; it leaves ASCII as it is.
    """
    texts = Texts.of(documents)
    plain = Texts(_lowercase(texts.letters), texts.ends) if lowercase else texts
    odd = _beyond_ascii(texts)
    if not odd.any() or not (lowercase or change):
        return plain
    words = [word.lower() if lowercase else word for word in documents.filter(pa.array(odd)).to_pylist()]
    made = pa.array(map(change, words) if change else words, pa.large_string())
    return Texts.of(pc.replace_with_mask(plain.arrow, pa.array(odd), made))


def _lowercase(letters: np.ndarray) -> np.ndarray:
    """Bytes with the letters of ASCII lowercase."""
    made = letters - np.uint8(ord("A"))
    np.left_shift((made < _LETTERS).view(np.uint8), _CASE_BIT, out=made)
    return np.bitwise_or(made, letters, out=made)


def _beyond_ascii(texts: Texts) -> np.ndarray:
    """Which texts hold more than ASCII."""
    odd = np.zeros(len(texts), dtype=bool)
    if len(texts.letters) and texts.letters.max() >= _ASCII:
        filled = np.flatnonzero(np.diff(texts.ends))
        odd[filled] = np.logical_or.reduceat(texts.letters >= _ASCII, texts.ends[filled])
    return odd


def cut_words(texts: Texts, least: int) -> Terms:
    r"""The runs of word characters, which are those of Python's `\w`.

    Parameters
    ----------
    texts : the documents.
    least : shorter runs, in characters, are left out.
    """
    begin, end = _runs(_word_bytes(texts.letters), texts.ends)
    found, codes = run_codes(texts.letters, begin, end)
    rows = _rows(np.searchsorted(begin, texts.ends))
    terms = Terms(found, codes, rows, len(texts))
    return terms.only(np.asarray(pc.utf8_length(found.arrow)) >= least)


def cut_by_pattern(texts: Texts, pattern: str) -> Terms:
    """What a regular expression finds, or its group.

    Parameters
    ----------
    texts : the documents.
    pattern : as Python's `re` takes it.
    """
    find = re.compile(pattern).findall
    found = [find(text) for text in texts.arrow.to_pylist()]
    rows = np.repeat(np.arange(len(found)), [len(words) for words in found])
    words = pa.array(chain.from_iterable(found), pa.large_string())
    return Terms.of(Texts.of(words), rows, len(found))


def cut_characters(texts: Texts, low: int, high: int, *, inside_words: bool) -> Terms:
    """Runs of neighbouring characters; several spaces count as one blank.

    Parameters
    ----------
    texts : the documents.
    low, high : how many characters a run has, at least and at most.
    inside_words : runs lie within words, which have a blank on either side.
    """
    points = np.frombuffer(texts.letters.tobytes().decode().encode("utf-32-le"), "<u4")
    begins = np.concatenate([[0], np.cumsum((texts.letters & 0xC0) != _ASCII)])
    ends = begins[texts.ends]
    space = _spaces()[points]
    if not inside_words:
        points, ends = _single_spaces(points, ends, space)
        return _character_terms(points, ends).ngrams(low, high, "")
    begin, end = _runs(~space, ends)
    lengths = end - begin + 2
    padded = np.full(lengths.sum(), _BLANK, dtype=np.uint32)
    word_ends = np.concatenate([[0], np.cumsum(lengths)])
    filled = np.ones(len(padded), dtype=bool)
    filled[word_ends[:-1]] = filled[word_ends[1:] - 1] = False
    padded[filled] = points[~space]
    made = _character_terms(padded, word_ends).ngrams(low, high, "", whole=True)
    documents = _rows(np.searchsorted(begin, ends))
    return Terms(made.texts, made.codes, documents[made.rows], len(texts))


def _character_terms(points: np.ndarray, ends: np.ndarray) -> Terms:
    """Each character a term."""
    used = np.zeros(_CODE_POINTS, dtype=bool)
    used[points] = True
    places = np.cumsum(used) - 1
    alphabet = Texts.of(pa.array(map(chr, np.flatnonzero(used)), pa.large_string()))
    return Terms(alphabet, places[points], _rows(ends), len(ends) - 1)


def _single_spaces(points: np.ndarray, ends: np.ndarray, space: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Characters and ends of documents with a blank where several spaces were."""
    begin, end = _runs(space, ends)
    several = end - begin > 1
    if not several.any():
        return points, ends
    points, kept = points.copy(), ~space
    kept[begin] = True
    points[begin[several]] = _BLANK
    return points[kept], np.concatenate([[0], np.cumsum(kept)])[ends]


def _runs(inside: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where runs begin and end that lie within one document each.

    Parameters
    ----------
    inside : boolean, what runs are made of.
    ends : where each document begins, and the last one ends.
    """
    before, after = np.zeros_like(inside), np.zeros_like(inside)
    before[1:], after[:-1] = inside[:-1], inside[1:]
    inner = ends[(ends > 0) & (ends < len(inside))]
    before[inner] = after[inner - 1] = False
    return np.flatnonzero(inside > before), np.flatnonzero(inside > after) + 1


def _rows(ends: np.ndarray) -> np.ndarray:
    """The document of each thing, given where those of each document end."""
    return np.repeat(np.arange(len(ends) - 1), np.diff(ends))


def _word_bytes(letters: np.ndarray) -> np.ndarray:
    """Whether each byte is part of a character of words."""
    inside = np.frombuffer(bytearray(letters).translate(_WORD_BYTES), dtype=bool)
    leads = np.flatnonzero(letters >= _LEAST_LEADS[0])
    if not len(leads):
        return inside
    more = np.searchsorted(_LEAST_LEADS, letters[leads], side="right")
    points = letters[leads] & _LEAD_BITS[more - 1]
    for step in (1, 2, 3):
        longer = more >= step
        points[longer] = (points[longer] << 6) | (letters[leads[longer] + step] & 0x3F)
    word = _word_characters()[points]
    inside[leads] = word
    for step in (1, 2, 3):
        longer = more >= step
        inside[leads[longer] + step] = word[longer]
    return inside


@lru_cache(1)
def _word_characters() -> np.ndarray:
    return np.fromiter(map(str.isalnum, map(chr, range(_CODE_POINTS))), dtype=bool)


@lru_cache(1)
def _spaces() -> np.ndarray:
    return np.fromiter(map(str.isspace, map(chr, range(_CODE_POINTS))), dtype=bool)
