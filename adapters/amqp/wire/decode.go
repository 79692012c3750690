package wire

import (
	"encoding/binary"
	"time"
	"unicode/utf8"
)

// decoder reads arguments from the front of b. The first fault sticks and
// empties b, so that a run of reads needs one check at its end.
type decoder struct {
	b     []byte
	fault string
	code  uint16
}

func (d *decoder) fail(code uint16, fault string) {
	if d.code == 0 {
		d.code, d.fault = code, fault
	}
	d.b = nil
}

func (d *decoder) short(what string) { d.fail(SyntaxError, what+" is cut short") }

// failure is the fault as an error, nil when there was none.
func (d *decoder) failure() *ConnError {
	if d.code == 0 {
		return nil
	}
	return &ConnError{Code: d.code, Text: d.fault}
}

// finish is failure, with octets left over as one more fault.
func (d *decoder) finish() *ConnError {
	if len(d.b) > 0 {
		d.fail(SyntaxError, "octets left over after the last field")
	}
	return d.failure()
}

// take returns the next n octets, part of what is being decoded.
func (d *decoder) take(n int, what string) []byte {
	if n > len(d.b) {
		d.short(what)
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) octet() uint8 {
	if len(d.b) < 1 {
		d.short("octet")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uint16() uint16 {
	if len(d.b) < 2 {
		d.short("short integer")
		return 0
	}
	v := binary.BigEndian.Uint16(d.b)
	d.b = d.b[2:]
	return v
}

func (d *decoder) uint32() uint32 {
	if len(d.b) < 4 {
		d.short("long integer")
		return 0
	}
	v := binary.BigEndian.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

func (d *decoder) uint64() uint64 {
	if len(d.b) < 8 {
		d.short("longlong integer")
		return 0
	}
	v := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

// timestamp is seconds since 1970, UTC. All 64 bits survive a round trip, also
// where the year means nothing.
func (d *decoder) timestamp() time.Time { return time.Unix(int64(d.uint64()), 0).UTC() }

// shortBytes is a short string without its length.
func (d *decoder) shortBytes() []byte { return d.take(int(d.octet()), "short string") }

// shortString is a short string of any octets.
func (d *decoder) shortString() string { return string(d.shortBytes()) }

// text is a short string that must be UTF-8.
func (d *decoder) text() string {
	b := d.shortBytes()
	if !utf8.Valid(b) {
		d.fail(FrameError, "malformed UTF-8 in a short string")
		return ""
	}
	return string(b)
}

// longBytes is what follows a length long: a long string, an octet array, the
// entries of a table or the values of an array.
func (d *decoder) longBytes(what string) []byte {
	n := d.uint32()
	if uint64(n) > uint64(len(d.b)) {
		d.short(what)
		return nil
	}
	return d.take(int(n), what)
}

func (d *decoder) longString() string { return string(d.longBytes("long string")) }
