package queue

import (
	"encoding/binary"
	"fmt"
)

// Entries with records that have IDs begin with these, and go on as the others:
//
//	6   when they were written in milliseconds since 1970, n, then n × (index, 16 octets), then as records
//	7   likewise, then as part; of a record's parts only the first has it
//	9   likewise, then as records of a stream
//	10  likewise, then as part of a record of a stream
//
// Indices are those of the records in the entry, and ascend.
const kindIDs = 5 // what the kind is above that of the rest

// idHead is what such entries begin with.
type idHead struct {
	when int64
	ids  []numberedID
}

// idOctets is the least that an ID takes in an entry.
const idOctets = 1 + len(ID{})

// beginIDs starts an entry with records that have IDs; kind is that of the rest.
func (q *Queue) beginIDs(dst []byte, kind byte, g *idGroup) []byte {
	if g.when == 0 {
		g.when = max(q.clock(), 0)
	}
	dst = beginEntry(dst, kind+kindIDs)
	dst = binary.AppendUvarint(dst, uint64(g.when))
	dst = binary.AppendUvarint(dst, uint64(len(g.ids)))
	for _, x := range g.ids {
		dst = binary.AppendUvarint(dst, uint64(x.index))
		dst = append(dst, x.id[:]...)
	}
	return dst
}

// openIDs takes the head off an entry's body, if there is one, and returns the kind that the rest is of.
func openIDs(kind byte, body []byte) (head idHead, plain byte, rest []byte, err error) {
	switch kind - kindIDs {
	case kindRecords, kindPart, kindStreamRecords, kindStreamPart:
	default:
		return head, kind, body, nil
	}
	r := reader{rest: body}
	head.when = int64(r.atMost(streamBound))
	n := r.count(uint64(idOctets))
	head.ids = make([]numberedID, 0, n)
	for i := range n {
		x := numberedID{index: uint32(r.atMost(chunkRecords - 1))}
		copy(x.id[:], r.bytes(uint64(len(x.id))))
		if i > 0 && x.index <= head.ids[i-1].index || x.id == (ID{}) {
			r.bad = true
		}
		head.ids = append(head.ids, x)
	}
	if r.bad || n == 0 {
		return idHead{}, 0, nil, fmt.Errorf("%w: ids", ErrCorrupt)
	}
	return head, kind - kindIDs, r.rest, nil
}
