"""Where one MARC record ends and the next begins, also in a damaged file.

pymarc's reader takes the length that a record claims and stops for good when it is wrong. This
one goes by the record terminator, so it is in step again after each of them.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

RECORD_END = b"\x1d"
LONGEST_RECORD = 99_999  # Five digits of the leader say how long a record is.

_BLOCK = 1 << 18
# Line ends that editors and transfers put between records; NULs and Ctrl-Z fill up old tapes.
_FILLER = b"\r\n \t\x00\x1a"
# A leader (MARC 21 fixes the "22" and the "45"); a look-ahead, for junk may end in digits.
_LEADER = re.compile(rb"(?=(\d{5})[ -~]{5}22\d{5}[ -~]{3}45)")


def chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield each record with its terminator, and each damaged piece as it is found.

    What was cut off lacks its terminator; of what is too long only the beginning is handed on.
    """
    lines_part_records = True
    for number, piece in enumerate(_pieces(stream)):
        record = piece.lstrip(_FILLER)
        if len(record) == len(piece) and number and record.endswith(RECORD_END):
            lines_part_records = False
        if _is_whole(record):
            yield record
        elif record:
            yield from _parted(record)
        elif not (lines_part_records or piece.strip(b"\r\n \t")):
            # Where line ends do not part records, one at the end is the start of a lost record.
            yield piece


def _is_whole(record: bytes) -> bool:
    return record[:5].isdigit() and int(record[:5]) == len(record)


def _parted(piece: bytes) -> Iterator[bytes]:
    """Yield what stands before a whole record in a piece, then that record.

    A record that lost its end, and junk between records, run into the record behind them.
    """
    for match in _LEADER.finditer(piece, 1):
        if piece.endswith(RECORD_END) and int(match[1]) == len(piece) - match.start():
            yield piece[: match.start()]
            yield piece[match.start() :]
            return
    yield piece


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what stands between terminators, never holding more than a block and a record."""
    rest = b""
    skipping = False
    while block := stream.read(_BLOCK):
        if skipping:
            _, end, block = block.partition(RECORD_END)
            if not end:
                continue
        *whole, rest = (rest + block).split(RECORD_END)
        for piece in whole:
            yield piece + RECORD_END
        skipping = len(rest) > LONGEST_RECORD
        if skipping:
            yield rest
            rest = b""
    if rest:
        yield rest
