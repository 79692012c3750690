package queue

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// The layout of log entries (docs/queue-log.md):
//
//	version  1 octet, 2
//	kind     1 octet
//	body     by kind
//	crc32c   4 octets, big endian, of everything before
//
//	records  count, then count × (length × 8 + flags, attributes, bytes); flags 0: the record was settled before it was written, and nothing follows
//	part     index, total, flags, attributes, bytes: a slice of one record too large for an entry; its parts follow one another
//	journal  watermark entry, watermark index, floor, n, then n × (gap, length-1): runs of entries; then to the end of the body chunks:
//	         entry, count, bytes not settled, ⌈count/8⌉ octets of bits (1 = settled, first record in the lowest bit), m, then m × (index, attempts)
//
// and in streams what stream_entry.go says.
//
// Flags: 1 always, 2 the record expires, 4 it has a priority. Attributes, if their flag is set: when it expires in milliseconds since 1970, its
// priority. All numbers are unsigned varints.
const (
	entryVersion = 2
	entryHead    = 2
	entryTail    = 4

	kindRecords = 1
	kindPart    = 2
	kindJournal = 3
)

// Sizes of what is written: a chunk is cut at chunkBytes or chunkRecords, and a record above partBytes is split.
const (
	chunkBytes   = 64 << 10
	chunkRecords = 1024
	partBytes    = 512 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func beginEntry(dst []byte, kind byte) []byte { return append(dst[:0], entryVersion, kind) }

func endEntry(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst, castagnoli))
}

// openEntry checks version and checksum and returns kind and body.
func openEntry(data []byte) (kind byte, body []byte, err error) {
	if len(data) < entryHead+entryTail {
		return 0, nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(data))
	}
	if data[0] != entryVersion {
		return 0, nil, fmt.Errorf("%w: version %d", ErrCorrupt, data[0])
	}
	body, sum := data[:len(data)-entryTail], data[len(data)-entryTail:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) {
		return 0, nil, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	return data[1], body[entryHead:], nil
}

// item is a record as an entry has it; nil data: it was absent.
type item struct {
	data []byte
	attributes
}

const (
	flagPresent  = 1
	flagExpires  = 2
	flagPriority = 4
	flagBits     = 3
)

func (a attributes) flags() uint64 {
	flags := uint64(flagPresent)
	if a.expires != 0 {
		flags |= flagExpires
	}
	if a.priority != 0 {
		flags |= flagPriority
	}
	return flags
}

func (a attributes) append(dst []byte) []byte {
	if a.expires != 0 {
		dst = binary.AppendUvarint(dst, uint64(a.expires))
	}
	if a.priority != 0 {
		dst = binary.AppendUvarint(dst, uint64(a.priority))
	}
	return dst
}

// attributes reads those that flags tells of.
func (r *reader) attributes(flags uint64) (a attributes) {
	if flags&flagPresent == 0 {
		r.bad = true
	}
	if flags&flagExpires != 0 {
		a.expires = int64(r.atMost(math.MaxInt64))
	}
	if flags&flagPriority != 0 {
		a.priority = uint8(r.atMost(math.MaxUint8))
	}
	return a
}

func appendRecord(dst, data []byte, a attributes) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(data))<<flagBits|a.flags())
	return append(a.append(dst), data...)
}

func appendAbsent(dst []byte) []byte { return append(dst, 0) }

// decodeRecords splits the body of a records entry. The records point into body.
func decodeRecords(body []byte) ([]item, error) {
	r := reader{rest: body}
	n := r.count(1)
	records := make([]item, 0, n)
	for range n {
		head := r.uvarint()
		if head == 0 {
			records = append(records, item{})
			continue
		}
		a := r.attributes(head)
		records = append(records, item{r.bytes(head >> flagBits), a})
	}
	return records, r.end()
}

type part struct {
	index, total uint64
	attributes
	data []byte
}

func encodePart(dst []byte, p part) []byte {
	return endEntry(appendPart(beginEntry(dst, kindPart), p))
}

func appendPart(dst []byte, p part) []byte {
	dst = binary.AppendUvarint(dst, p.index)
	dst = binary.AppendUvarint(dst, p.total)
	dst = binary.AppendUvarint(dst, p.flags())
	return append(p.attributes.append(dst), p.data...)
}

func decodePart(body []byte) (part, error) {
	r := reader{rest: body}
	p := part{index: r.uvarint(), total: r.uvarint()}
	p.attributes = r.attributes(r.atMost(1<<flagBits - 1))
	p.data = r.rest
	if r.bad || p.index >= p.total {
		return part{}, fmt.Errorf("%w: part %d of %d", ErrCorrupt, p.index, p.total)
	}
	return p, nil
}

// journal is what a journal entry says.
type journal struct {
	watermark position // everything up to here had been delivered, or may have been
	floor     uint64   // chunks in entries below are settled whole
	gone      spans    // and those in these entries
	chunks    []journalChunk
}

// position names a record by its entry and its index therein.
type position struct {
	entry uint64
	index uint64
}

func (p position) before(q position) bool {
	return p.entry < q.entry || p.entry == q.entry && p.index < q.index
}

type journalChunk struct {
	entry    uint64
	count    uint64
	bytes    uint64 // of the records not settled
	settled  []byte
	attempts []attempt
}

type attempt struct{ index, n uint64 }

func (c *journalChunk) isSettled(i int) bool { return c.settled[i/8]&(1<<(i%8)) != 0 }

// beginJournal starts a journal entry; bitmaps and endEntry follow.
func beginJournal(dst []byte, j journal) []byte {
	dst = beginEntry(dst, kindJournal)
	dst = binary.AppendUvarint(dst, j.watermark.entry)
	dst = binary.AppendUvarint(dst, j.watermark.index)
	dst = binary.AppendUvarint(dst, j.floor)
	dst = binary.AppendUvarint(dst, uint64(len(j.gone)))
	at := uint64(0)
	for _, s := range j.gone {
		dst = binary.AppendUvarint(dst, s.from-at)
		dst = binary.AppendUvarint(dst, s.to-s.from)
		at = s.to
	}
	return dst
}

func appendBitmap(dst []byte, c journalChunk) []byte {
	dst = binary.AppendUvarint(dst, c.entry)
	dst = binary.AppendUvarint(dst, c.count)
	dst = binary.AppendUvarint(dst, c.bytes)
	dst = append(dst, c.settled...)
	dst = binary.AppendUvarint(dst, uint64(len(c.attempts)))
	for _, a := range c.attempts {
		dst = binary.AppendUvarint(dst, a.index)
		dst = binary.AppendUvarint(dst, a.n)
	}
	return dst
}

func decodeJournal(body []byte) (journal, error) {
	r := reader{rest: body}
	j := journal{watermark: position{r.uvarint(), r.uvarint()}, floor: r.uvarint()}
	at := uint64(0)
	for range r.count(2) {
		s := span{from: at + r.uvarint()}
		s.to = s.from + r.uvarint()
		if s.from < at || s.to < s.from {
			r.bad = true
		}
		j.gone, at = append(j.gone, s), s.to
	}
	for len(r.rest) > 0 && !r.bad {
		c := journalChunk{entry: r.uvarint(), count: r.uvarint(), bytes: r.uvarint()}
		c.settled = r.bytes(c.count/8 + min(c.count%8, 1))
		for range r.count(2) {
			c.attempts = append(c.attempts, attempt{r.uvarint(), r.uvarint()})
		}
		j.chunks = append(j.chunks, c)
	}
	return j, r.end()
}

// reader takes an entry's body apart; once something was missing it is bad and yields zeroes.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// atMost reads a number that is not larger than bound.
func (r *reader) atMost(bound uint64) uint64 {
	v := r.uvarint()
	if v > bound {
		r.bad, r.rest = true, nil
		return 0
	}
	return v
}

// count reads a number of things of at least size octets each: no more than there is room for.
func (r *reader) count(size uint64) int {
	n := r.uvarint()
	if n > uint64(len(r.rest))/size {
		r.bad, r.rest = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) end() error {
	if r.bad || len(r.rest) > 0 {
		return fmt.Errorf("%w: malformed body", ErrCorrupt)
	}
	return nil
}
