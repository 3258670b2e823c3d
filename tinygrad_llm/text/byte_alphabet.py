"""GPT-2's byte alphabet: a printable character for each byte, so that JSON can spell any bytes.

Printable bytes of Latin-1 stand for themselves; the n-th of the others is written chr(256 + n), so
that a space becomes 'Ġ'. From encoder.py of Radford et al. (2019); tokenizer.json and vocab.bpe
spell their tokens so.
"""

from __future__ import annotations

from tinygrad_llm.errors import InputError

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]

BYTE_ORDER = bytes(_PRINTABLE + _OTHERS)
"""The 256 bytes in the order of their characters: GPT-2 numbers its first 256 tokens so."""

_CHARACTER = {byte: chr(byte) for byte in _PRINTABLE}
_CHARACTER |= {byte: chr(256 + n) for n, byte in enumerate(_OTHERS)}
_BYTE = {character: byte for byte, character in _CHARACTER.items()}


def spell(token: bytes) -> str:
    """`token` written in the byte alphabet.

    >>> spell(" é".encode())
    'ĠÃ©'
    """
    return token.decode("latin-1").translate(_CHARACTER)


def unspell(spelling: str) -> bytes:
    """The bytes that `spelling` stands for; InputError for a character outside the alphabet."""
    try:
        return bytes(map(_BYTE.__getitem__, spelling))
    except KeyError as error:
        raise InputError(
            f"token {spelling!r:.60}: {error.args[0]!r} stands for no byte in the "
            "byte-level alphabet"
        ) from None
