// Package wire is the octets of AMQP 0-9-1: frames, methods, content headers,
// properties, field tables and reply codes, in both directions. It knows no
// sockets, goroutines, exchanges or logs; a [Reader] takes any io.Reader and
// every encoder appends to a slice that the caller writes when it likes.
//
// A connection opens with eight octets from the client; all that follows, both
// ways, is frames [0-9-1 2.3.5, 4.2.3]:
//
//	'A' 'M' 'Q' 'P'  0  0  9  1                          protocol header
//
//	0      1         3               7        size+7   size+8
//	+------+---------+---------------+---------+--------+
//	| type | channel |     size      | payload | 0xCE   |    frame
//	+------+---------+---------------+---------+--------+
//	 octet   short         long       size octets
//
// The payload says, by type:
//
//	1 method     +----------+-----------+-----------+
//	             | class-id | method-id | arguments |
//	             +----------+-----------+-----------+
//	              short      short
//	2 header     +----------+--------+-----------+-------+------------+
//	             | class-id | weight | body size | flags | properties |
//	             +----------+--------+-----------+-------+------------+
//	              short      short 0  longlong    short
//	3 body       octets of the message, at most frame-max - 8 a frame
//	8 heartbeat  nothing
//
// flags has one bit a property, content-type first in bit 15, cluster-id last in
// bit 2; only the properties whose bit is set follow, in that order. "Raw
// properties" in this package means flags and list together, as they stand in
// the header frame: a broker keeps those octets and need not decode them.
//
// Arguments are packed without padding: octet, short, long and longlong big
// endian; a short string has a length octet, a long string a length long;
// adjacent bits share an octet, the first in its lowest bit; a table is a long
// with the octets that follow, each entry a short string, a tag and a value.
// Tags are RabbitMQ's, not the specification's (see [Table]).
//
// Slices that a decoder returns point into what it was given, strings never do.
// What is malformed is a [*ConnError] with the reply code to close with; limits
// are checked before memory is taken.
//
// methods_gen.go and codes_gen.go come from the specification's XML by gen.
package wire

//go:generate go run ./gen
