package queue

import "math"

// Owners of a record that are not consumers.
const (
	ownerNone    uint32 = 0 // ready
	ownerSettled uint32 = 1 // gone
	ownerGrave   uint32 = 2 // dead, on its way to the dead letters
	firstOwner   uint32 = 3 // consumers' ids are above
)

// record is the state of one record.
type record struct {
	data     []byte // nil: not in memory (or settled)
	size     uint32 // len(data), also when it is not in memory any more; 0 as long as it has not been
	owner    uint32
	attempts uint32
}

// attributes are what few records have. Without TTL, priorities and Rules.MaxBytes all are zero.
type attributes struct {
	expires  int64  // milliseconds since 1970; 0: never
	weight   uint32 // what it counts for Rules.MaxBytes; not in the log
	priority uint8
}

// ticket says who waits for a record to be kept.
type ticket struct {
	pub Publisher
	tag uint64
}

// chunk is a run of records with consecutive numbers: the unit that is written, read back and removed.
type chunk struct {
	base    uint64       // number of the first record
	count   int          // records, settled ones included
	records []record     // nil: all ready, never delivered, none in memory
	extra   []attributes // one a record, stays when the data goes; nil: all zero
	tickets []ticket     // one a record, until the chunk is kept
	ids     *idGroup     // those of its records; nil: none has one, or the window is over, or it is a memory queue's
	bytes   int64        // of the records not settled
	memory  int64        // of the records in memory
	ready   int
	settled int

	when  int64  // in a stream: when it was last written to, in milliseconds since 1970; 0: not yet
	stamp uint64 // in a stream: when it came into memory, counted; 0: it is not there, or not written
	fresh bool   // and has been since it was appended

	pending     bool   // its publishers have not been told yet
	first, last uint64 // log entries that hold it; 0: not (yet) written
	journal     uint64 // journal entry with its latest bitmap; 0: none
	listed      bool   // in journaler.dirty: settlements since then
}

func (c *chunk) held() int     { return c.count - c.ready - c.settled }
func (c *chunk) done() bool    { return c.settled == c.count }
func (c *chunk) over() bool    { return c.done() && !c.pending } // nothing will come of it any more
func (c *chunk) written() bool { return c.last != 0 }
func (c *chunk) end() uint64   { return c.base + uint64(c.count) }

// isReady tells whether record i may be delivered.
func (c *chunk) isReady(i int) bool {
	return !c.done() && (c.records == nil || c.records[i].owner == ownerNone)
}

// share is what a record weighs whose size is not known.
func (c *chunk) share() uint32 {
	return uint32(min(c.bytes/int64(max(c.count-c.settled, 1)), math.MaxUint32))
}

// attributes returns those of record i.
func (c *chunk) attributes(i int) attributes {
	if c.extra == nil {
		return attributes{}
	}
	return c.extra[i]
}

// annotate gives record i, which is there, its attributes.
func (c *chunk) annotate(i int, a attributes) {
	if c.extra == nil {
		if a == (attributes{}) {
			return
		}
		c.extra = make([]attributes, 0, max(cap(c.records), c.count))
	}
	if n := c.count - len(c.extra); n > 0 {
		c.extra = append(c.extra, make([]attributes, n)...)
	}
	c.extra[i] = a
}

// chunks is the queue's contents in order: a deque whose ends are cheap and whose middle is found by binary search.
// Settled chunks in the middle stay until compact drops them.
type chunks struct {
	list []*chunk
	head int
	dead int // settled chunks still in the list
}

func (d *chunks) live() []*chunk { return d.list[d.head:] }

func (d *chunks) push(c *chunk) {
	if d.head > 64 && d.head*2 > len(d.list) {
		n := copy(d.list, d.list[d.head:])
		clear(d.list[n:])
		d.list, d.head = d.list[:n], 0
	}
	d.list = append(d.list, c)
}

// find returns the chunk that holds record seq, or nil.
func (d *chunks) find(seq uint64) *chunk {
	live := d.live()
	i := d.search(seq)
	for i < len(live) && live[i].count == 0 { // see stream.fold
		i++
	}
	if i < len(live) && live[i].base <= seq {
		return live[i]
	}
	return nil
}

// search returns the index in live of the first chunk that ends behind seq.
func (d *chunks) search(seq uint64) int {
	live := d.live()
	lo, hi := 0, len(live)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if live[mid].end() <= seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// bury notes that one chunk of the list is settled whole and drops what can be dropped.
func (d *chunks) bury() {
	d.dead++
	for d.head < len(d.list) && d.list[d.head].over() {
		d.list[d.head] = nil
		d.head++
		d.dead--
	}
	if d.dead > 32 && d.dead*2 > len(d.list)-d.head {
		d.compact()
	}
}

func (d *chunks) compact() {
	kept := d.list[:0]
	for _, c := range d.live() {
		if !c.over() {
			kept = append(kept, c)
		}
	}
	clear(d.list[len(kept):])
	d.list, d.head, d.dead = kept, 0, 0
}
