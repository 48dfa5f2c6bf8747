"""Vocabulary: symbols to ids and back."""

import numbers
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seqframe.framing.checks import check_integer
from seqframe.framing.tables import check_unmasked


class Vocabulary:
    """A fixed set of symbols, each with an id: `"ABC"` to `[0, 1, 2]` and back.

    Symbols are characters, or any hashable values (words, note names, numbers). Ids count up from 0
    in the order given.

    Args:
        symbols: str, or an iterable of distinct hashable symbols.
        reserve_padding: bool. Keep id 0 for padding; symbols count up from 1. So no symbol shares
            its id with the zeros of padded frames. Use it with `Embedding(len(vocabulary), …,
            mask_zero=True)`.
        unknown: the symbol that replaces all out-of-vocabulary symbols, for instance `"<unk>"`. It
            must be one of `symbols`. None: an out-of-vocabulary symbol is an error.

    Attributes:
        symbols: tuple of the symbols, in the order of their ids.
        is_text: bool. Whether every symbol is a character.

    `reserve_padding` and `unknown` are attributes of the same name.

    Raises:
        ValueError: if there is no symbol, a symbol repeats, or `unknown` is not one of them.
        TypeError: if a symbol is not hashable.

    Example:

    >>> letters = Vocabulary("ABC")
    >>> letters.encode("CAB")
    array([2, 0, 1], dtype=int32)
    >>> letters.decode([2, 0, 1])
    'CAB'
    >>> Vocabulary("ABC", reserve_padding=True).encode("CAB")
    array([3, 1, 2], dtype=int32)
    >>> Vocabulary(["the", "cat"]).decode([1, 0])
    ['cat', 'the']
    >>> Vocabulary(["<unk>", "the", "cat"], unknown="<unk>").encode(["the", "dog"])
    array([1, 0], dtype=int32)
    """

    symbols: tuple[Any, ...]
    reserve_padding: bool
    unknown: Any
    is_text: bool

    def __init__(
        self, symbols: str | Iterable[Any], *, reserve_padding: bool = False, unknown: Any = None
    ):
        self.symbols = tuple(_hashable(symbol) for symbol in symbols)
        self.reserve_padding, self.unknown = bool(reserve_padding), _hashable(unknown)
        if not self.symbols:
            raise ValueError(
                "`symbols` must hold at least one symbol. Received: an empty collection."
            )
        first_id = int(self.reserve_padding)
        self._ids = {symbol: first_id + rank for rank, symbol in enumerate(self.symbols)}
        if len(self._ids) != len(self.symbols):
            twice = next(s for i, s in enumerate(self.symbols) if s in self.symbols[:i])
            raise ValueError(
                f"`symbols` must be distinct. Received: {twice!r} more than once. "
                "`Vocabulary.from_sequences` collects the distinct symbols of your data."
            )
        if unknown is not None and unknown not in self:
            raise ValueError(
                "`unknown` must be one of `symbols`. "
                f"Received: unknown={unknown!r}. Add it to `symbols`."
            )
        self.is_text = all(isinstance(s, str) and len(s) == 1 for s in self.symbols)
        if self.is_text:
            # One table look-up for each character, instead of a Python loop.
            self._table = np.full(max(map(ord, self.symbols)) + 2, self.unknown_id, np.int32)
            self._table[[ord(s) for s in self.symbols]] = np.arange(len(self.symbols)) + first_id

    @classmethod
    def from_sequences(
        cls,
        *sequences: Any,
        reserve_padding: bool = False,
        unknown: Any = None,
        min_count: int = 1,
    ) -> "Vocabulary":
        """Collect the distinct symbols of sequences, sorted.

        Args:
            *sequences: strings, or iterables of symbols.
            reserve_padding: bool. Keep id 0 for padding.
            unknown: the symbol that replaces all symbols that are not collected. It gets the first
                id. None: such symbols are an error.
            min_count: int ≥ 1. How often a symbol must occur to be collected. More than 1 needs
                `unknown`, which replaces rarer symbols.

        Returns:
            Vocabulary.

        Raises:
            ValueError: if there is no symbol, or `min_count` is given without `unknown`.
            TypeError: if symbols are of several types, or not hashable.

        Example:

        >>> Vocabulary.from_sequences("hello", "world").symbols
        ('d', 'e', 'h', 'l', 'o', 'r', 'w')
        >>> words = "the cat saw the cat and the dog".split()
        >>> Vocabulary.from_sequences(words, unknown="<unk>", min_count=2).symbols
        ('<unk>', 'cat', 'the')
        """
        if check_integer("min_count", min_count, 1) > 1 and unknown is None:
            raise ValueError(
                "`min_count` needs a symbol that replaces rare symbols. Received: "
                f'min_count={min_count} without `unknown`. Pass `unknown="<unk>"`.'
            )
        for sequence in sequences:
            check_unmasked(sequence, "sequences")
        counts = Counter(_hashable(symbol) for sequence in sequences for symbol in sequence)
        found = {symbol for symbol, count in counts.items() if count >= min_count}
        if unknown is not None:
            found.discard(_hashable(unknown))
        try:
            symbols = sorted(found)
        except TypeError:
            kinds = ", ".join(sorted({type(symbol).__name__ for symbol in found}))
            raise TypeError(
                "Symbols must be of one type, so that they can be sorted. Received: symbols of "
                f"types {kinds}. Convert them, or give their order with `Vocabulary(symbols)`."
            ) from None
        if unknown is not None:
            symbols.insert(0, unknown)
        return cls(symbols, reserve_padding=reserve_padding, unknown=unknown)

    @property
    def padding_id(self) -> int | None:
        """The id that is kept for padding, 0, or None.

        >>> Vocabulary("ABC", reserve_padding=True).padding_id
        0
        """
        return 0 if self.reserve_padding else None

    @property
    def unknown_id(self) -> int:
        """The id of all out-of-vocabulary symbols; -1 if they are an error.

        >>> Vocabulary("ABC").unknown_id, Vocabulary("?ABC", unknown="?").unknown_id
        (-1, 0)
        """
        return -1 if self.unknown is None else self._ids[self.unknown]

    def encode(self, sequence: str | Iterable[Any]) -> np.ndarray:
        """Return the ids of a sequence's symbols.

        Args:
            sequence: str, or an iterable of symbols.

        Returns:
            int32 array `(steps,)`.

        Raises:
            ValueError: if a symbol is out of vocabulary and there is no `unknown`. The message
                names the symbol and its position.
            TypeError: if a string is given, but symbols are words. If the array is masked.

        Example:

        >>> Vocabulary("ABC").encode("CAB")
        array([2, 0, 1], dtype=int32)
        >>> Vocabulary(["the", "cat"]).encode("the cat".split())
        array([0, 1], dtype=int32)
        """
        if isinstance(sequence, str) and self.is_text:
            points = np.frombuffer(sequence.encode("utf-32-le", "surrogatepass"), np.uint32)
            ids = self._table[np.minimum(points, len(self._table) - 1)]
            unknown = np.flatnonzero(ids < 0)
            if unknown.size:
                raise self._unknown(sequence[unknown[0]], int(unknown[0]))
            return ids
        if isinstance(sequence, str):
            raise TypeError(
                "A vocabulary of words encodes a list of symbols, not a string. "
                f"Received: {_short(sequence)}. Split it first, for instance with `.split()`."
            )
        check_unmasked(sequence, "sequence")
        symbols = sequence.tolist() if isinstance(sequence, np.ndarray) else list(sequence)
        unknown_id = self.unknown_id
        found = [self._ids.get(_hashable(symbol), unknown_id) for symbol in symbols]
        if -1 in found:
            raise self._unknown(symbols[found.index(-1)], found.index(-1))
        return np.array(found, np.int32)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str | list[Any]:
        """Return the symbols of ids: a string if every symbol is a character, else a list.

        Padding ids are left out.

        Args:
            ids: int array or list `(steps,)`, or `(steps, 1)` as in a frame.

        Returns:
            str or list of symbols.

        Raises:
            ValueError: if an id is out of range, or ids are of several sequences.
            TypeError: if ids are not integers, or the array is masked.

        Example:

        >>> Vocabulary("ABC").decode([2, 0, 1])
        'CAB'
        >>> Vocabulary(["the", "cat"], reserve_padding=True).decode([0, 1, 2])
        ['the', 'cat']
        """
        check_unmasked(ids, "ids")
        given, ids = ids, np.asarray(ids)
        if ids.size and ids.dtype.kind not in "iu":
            if not _are_integers(given):
                raise TypeError(
                    f"`ids` must be integers. Received: dtype={ids.dtype}. For probabilities or "
                    "logits, pass `probabilities.argmax(-1)`; else convert with `.astype('int32')`."
                )
            ids = np.asarray(given, object)
        if ids.size > max(ids.shape, default=1):
            raise ValueError(
                f"`ids` must be of one sequence. Received: shape {ids.shape}. Decode each row, as "
                "`[vocabulary.decode(row) for row in ids]`."
            )
        ids = ids.reshape(-1)
        outside = np.flatnonzero((ids < 0) | (ids >= len(self)))
        if outside.size:
            raise ValueError(
                f"An id must be in 0 … {len(self) - 1}. "
                f"Received: {ids[outside[0]]} at position {outside[0]}."
            )
        ids = ids.astype(np.int64)
        ranks = (ids - self.reserve_padding)[ids >= self.reserve_padding]
        symbols = [self.symbols[rank] for rank in ranks]
        return "".join(symbols) if self.is_text else symbols

    def get_config(self) -> dict[str, Any]:
        """Return the arguments for `from_config`, as JSON-safe values.

        >>> Vocabulary("ABC").get_config()
        {'symbols': ['A', 'B', 'C'], 'reserve_padding': False, 'unknown': None}
        """
        return {
            "symbols": list(self.symbols),
            "reserve_padding": self.reserve_padding,
            "unknown": self.unknown,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Vocabulary":
        """Make the vocabulary that `get_config` described.

        Args:
            config: dict that `get_config` returned, before JSON or after it.

        Returns:
            Vocabulary.

        Example:

        >>> Vocabulary.from_config(Vocabulary("ABC").get_config()) == Vocabulary("ABC")
        True
        """
        symbols, unknown = map(_as_symbol, (config["symbols"], config["unknown"]))
        return cls(symbols, reserve_padding=config["reserve_padding"], unknown=unknown)

    def _unknown(self, symbol: Any, position: int) -> ValueError:
        return ValueError(
            f"Unknown symbol {symbol!r} at position {position}: it is not in the vocabulary of "
            f"{len(self.symbols)} symbols. Add it to the vocabulary, remove it from the sequence, "
            "or give the vocabulary an `unknown` symbol."
        )

    def __len__(self) -> int:
        """Number of ids, with the padding id: the size that `Dense` or `Embedding` needs."""
        return len(self.symbols) + self.reserve_padding

    def __contains__(self, symbol: Any) -> bool:
        return _hashable(symbol) in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.symbols, self.reserve_padding, self.unknown))

    def __repr__(self) -> str:
        shown = "".join(self.symbols) if self.is_text else list(self.symbols)
        padding = ", reserve_padding=True" if self.reserve_padding else ""
        unknown = "" if self.unknown is None else f", unknown={self.unknown!r}"
        return f"Vocabulary({_short(shown)}{padding}{unknown})"


def _plain(symbol: Any) -> Any:
    """Return a NumPy scalar as the equal Python value, which JSON can hold."""
    return symbol.item() if isinstance(symbol, np.generic) else symbol


def _as_symbol(value: Any) -> Any:
    """Return a symbol as it was before JSON, which turns tuples into lists."""
    return tuple(map(_as_symbol, value)) if isinstance(value, list) else value


def _are_integers(values: Any) -> bool:
    """Whether values are integers, of any size: NumPy takes some lists of large ones for floats."""
    exact = np.asarray(values, object)
    return all(isinstance(v, numbers.Integral) and not isinstance(v, bool) for v in exact.flat)


def _hashable(symbol: Any) -> Any:
    try:
        hash(symbol)
    except TypeError:
        raise TypeError(
            f"A symbol must be hashable (a string, a number). Received: {_short(symbol)}."
        ) from None
    return _plain(symbol)


def _short(value: Any, limit: int = 40) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "…"
