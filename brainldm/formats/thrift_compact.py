"""Thrift's compact protocol, as much of it as Parquet's headers need, so that their promises are known before pyarrow acts on them.

Source: apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

Struct = dict[int, object]  # by number of the field

MOST_DEPTH = 24
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)


class ThriftError(ValueError):
    """Bytes that are no struct, or one of more parts than are read."""


class Reader:
    """Reads structs from bytes, `place` being where; at most `most_parts` fields and elements in all."""

    def __init__(self, content: bytes, most_parts: int) -> None:
        self.content = content
        self.place = 0
        self._left = most_parts

    def struct(self, depth: int = 0) -> Struct:
        """Read a struct; ThriftError if it does not end within the bytes."""
        if depth > MOST_DEPTH:
            raise ThriftError("structs in structs")
        found: Struct = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._zigzag()
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth + 1)
        return found

    def _value(self, kind: int, depth: int) -> object:
        self._left -= 1
        if self._left < 0:
            raise ThriftError("more parts than any table has")
        if kind in (_BYTE, _TRUE, _FALSE):  # in a list a boolean is a byte
            return self._byte()
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind in (_LIST, _SET):
            return self._list(depth)
        if kind == _STRUCT:
            return self.struct(depth)
        raise ThriftError(f"a value of the unknown type {kind}")  # Parquet has no maps

    def _list(self, depth: int) -> list[object]:
        if depth > MOST_DEPTH:
            raise ThriftError("lists in lists")
        head = self._byte()
        n_items = head >> 4 if head >> 4 < 15 else self._varint()
        return [self._value(head & 15, depth + 1) for _ in range(n_items)]

    def _byte(self) -> int:
        place = self.place
        if place >= len(self.content):
            raise ThriftError("it ends in the middle of a value")
        self.place = place + 1
        return self.content[place]

    def _bytes(self, n_bytes: int) -> bytes:
        found = self.content[self.place : self.place + n_bytes]
        if len(found) < n_bytes:
            raise ThriftError("it ends in the middle of a value")
        self.place += n_bytes
        return found

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ThriftError("an integer of more than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
