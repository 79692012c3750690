package wire

import (
	"encoding/binary"
	"time"
)

// maxShort is the longest short string in octets.
const maxShort = 255

func appendShort(dst []byte, v uint16) []byte    { return binary.BigEndian.AppendUint16(dst, v) }
func appendLong(dst []byte, v uint32) []byte     { return binary.BigEndian.AppendUint32(dst, v) }
func appendLongLong(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

func appendTimestamp(dst []byte, t time.Time) []byte {
	return appendLongLong(dst, uint64(t.Unix()))
}

// appendShortString appends s with its length octet, cut to 255 octets.
func appendShortString[T string | []byte](dst []byte, s T) []byte {
	s = s[:min(len(s), maxShort)]
	dst = append(dst, byte(len(s)))
	return append(dst, s...)
}

// appendLongString appends s with its length long.
func appendLongString[T string | []byte](dst []byte, s T) []byte {
	dst = appendLong(dst, uint32(len(s)))
	return append(dst, s...)
}

// bit is 1 for true.
func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
