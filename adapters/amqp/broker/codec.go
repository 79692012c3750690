package broker

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"portico/adapters/amqp/wire"
)

// A stored exchange or binding is
//
//	version(1) | flags(1) | strings, each uvarint length + octets | field table
//
// with the strings name, type or source, destination, key. The table is encoded
// with sorted keys, so equal values are equal octets.
const recordVersion = 1

const (
	flagDurable = 1 << iota
	flagAutoDelete
	flagInternal

	flagToExchange = 1
)

// EncodeExchange returns x as octets that [DecodeExchange] reads; the format is
// stable. Arguments that no field table can hold count as none; DeclareExchange
// does not let such an exchange in.
func EncodeExchange(x Exchange) []byte {
	var flags byte
	for _, f := range []struct {
		on  bool
		bit byte
	}{{x.Durable, flagDurable}, {x.AutoDelete, flagAutoDelete}, {x.Internal, flagInternal}} {
		if f.on {
			flags |= f.bit
		}
	}
	return appendRecord(nil, flags, x.Arguments, x.Name, x.Type)
}

// DecodeExchange reads what [EncodeExchange] wrote. The result keeps nothing of b.
func DecodeExchange(b []byte) (Exchange, error) {
	r, err := readRecord(b, 2, flagDurable|flagAutoDelete|flagInternal)
	if err != nil {
		return Exchange{}, fmt.Errorf("decode exchange: %w", err)
	}
	return Exchange{
		Name: r.strings[0], Type: r.strings[1],
		Durable:    r.flags&flagDurable != 0,
		AutoDelete: r.flags&flagAutoDelete != 0,
		Internal:   r.flags&flagInternal != 0,
		Arguments:  r.arguments,
	}, nil
}

// EncodeBinding returns b as octets that [DecodeBinding] reads, as EncodeExchange
// does. Equal bindings are equal octets.
func EncodeBinding(b Binding) []byte { return AppendBinding(nil, b) }

// AppendBinding is [EncodeBinding] into dst.
func AppendBinding(dst []byte, b Binding) []byte {
	var flags byte
	if b.ToExchange {
		flags = flagToExchange
	}
	return appendRecord(dst, flags, b.Arguments, b.Source, b.Destination, b.Key)
}

// DecodeBinding reads what [EncodeBinding] wrote. The result keeps nothing of p.
func DecodeBinding(p []byte) (Binding, error) {
	r, err := readRecord(p, 3, flagToExchange)
	if err != nil {
		return Binding{}, fmt.Errorf("decode binding: %w", err)
	}
	return Binding{
		Source: r.strings[0], Destination: r.strings[1], Key: r.strings[2],
		ToExchange: r.flags&flagToExchange != 0,
		Arguments:  r.arguments,
	}, nil
}

// ID names b in a store: 43 characters of A-Z a-z 0-9 - _, the same for equal
// bindings on every node and in every release, different for different ones.
func (b Binding) ID() string { return recordID(AppendBinding(nil, b)) }

// ID names x in a store as [Binding.ID] does. It depends on the name alone, which
// is an exchange's identity.
func (x Exchange) ID() string { return recordID([]byte(x.Name)) }

func recordID(p []byte) string {
	sum := sha256.Sum256(p)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (b Binding) encoded() string { return string(AppendBinding(nil, b)) }

func appendRecord(dst []byte, flags byte, arguments wire.Table, fields ...string) []byte {
	dst = append(dst, recordVersion, flags)
	for _, s := range fields {
		dst = appendString(dst, s)
	}
	out, err := wire.AppendTable(dst, arguments)
	if err != nil {
		out, _ = wire.AppendTable(dst, nil) // an empty table always fits
	}
	return out
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// record is a decoded record.
type record struct {
	flags     byte
	strings   []string
	arguments wire.Table
}

// readRecord reads a record of n strings whose flags lie within known.
func readRecord(b []byte, n int, known byte) (record, error) {
	if len(b) < 2 {
		return record{}, errors.New("cut short")
	}
	if b[0] != recordVersion {
		return record{}, fmt.Errorf("unknown version %d", b[0])
	}
	r := record{flags: b[1], strings: make([]string, n)}
	if r.flags&^known != 0 {
		return record{}, fmt.Errorf("unknown flags %#x", r.flags&^known)
	}
	b = b[2:]
	for i := range r.strings {
		size, used := binary.Uvarint(b)
		if used <= 0 || size > uint64(len(b)-used) {
			return record{}, errors.New("cut short")
		}
		b = b[used:]
		r.strings[i], b = string(b[:size]), b[size:]
	}
	arguments, rest, err := wire.DecodeTable(b)
	if err != nil { // not wrapped: a bad record is not the peer's connection error
		return record{}, fmt.Errorf("arguments: %s", err.Error())
	}
	if len(rest) > 0 {
		return record{}, fmt.Errorf("%d octets left over", len(rest))
	}
	r.arguments = arguments
	return r, nil
}
