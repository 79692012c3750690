package queue

import (
	"encoding/binary"
	"fmt"
)

// Entries of streams begin with what the others need not have, and go on as these:
//
//	4  number of the first record, when it was written in milliseconds since 1970, then as records
//	5  number of the record, when, then as part
const (
	kindStreamRecords = kindRecords + kindStream
	kindStreamPart    = kindPart + kindStream
	kindStream        = 3 // what a stream's kind is above the other
)

// streamBound is above every number and every time, and far from where sums overflow.
const streamBound = 1 << 53

// streamHead is what entries of streams begin with.
type streamHead struct {
	number uint64
	when   int64
}

// beginChunk starts an entry with records of c, and the IDs of those that have one; kind is that of a queue that is no stream.
func (q *Queue) beginChunk(dst []byte, kind byte, c *chunk, ids *idGroup) []byte {
	if q.stream != nil {
		kind += kindStream
	}
	if ids == nil {
		dst = beginEntry(dst, kind)
	} else {
		dst = q.beginIDs(dst, kind, ids)
	}
	if q.stream == nil {
		return dst
	}
	if c.when == 0 {
		c.when = q.clock()
	}
	dst = binary.AppendUvarint(dst, c.base)
	return binary.AppendUvarint(dst, uint64(c.when))
}

// openStream takes the head off an entry's body and returns the kind that the rest is of.
func openStream(kind byte, body []byte) (head streamHead, plain byte, rest []byte, err error) {
	if kind != kindStreamRecords && kind != kindStreamPart {
		return head, 0, nil, fmt.Errorf("%w: kind %d in a stream", ErrCorrupt, kind)
	}
	r := reader{rest: body}
	head = streamHead{number: r.atMost(streamBound), when: int64(r.atMost(streamBound))}
	if r.bad || head.number == 0 {
		return head, 0, nil, fmt.Errorf("%w: head of a stream's entry", ErrCorrupt)
	}
	return head, kind - kindStream, r.rest, nil
}

// streamRecords returns the records of an entry of a stream and the first one's number; none for a part that is not the last.
func (g *gathering) streamRecords(e Entry) (number uint64, records []item, err error) {
	kind, body, err := openEntry(e.Data)
	if err != nil {
		return 0, nil, err
	}
	_, kind, body, err = openIDs(kind, body)
	if err != nil {
		return 0, nil, err
	}
	head, kind, body, err := openStream(kind, body)
	if err != nil {
		return 0, nil, err
	}
	records, _, err = g.records(kind, body, e.Seq)
	return head.number, records, err
}
