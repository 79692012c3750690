package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// ID names a record, so that it is kept once: see Record.ID. The zero value is none.
type ID [16]byte

// ErrDuplicate is what a publisher is told of a record whose ID the queue remembers: the record is there already, or has been. It is not appended again.
var ErrDuplicate = errors.New("the queue has had this record already")

// errManyIDs is ErrFull for what it says.
var errManyIDs = fmt.Errorf("%w: too many ids are remembered", ErrFull)

// How long and how many IDs are remembered, about 64 bytes each.
const (
	defaultRemember = 2 * time.Minute
	maxIDs          = 100_000   // by one queue
	maxBudgetIDs    = 1_000_000 // by the queues that share a Budget

	// idTick is how late IDs may leave the table. That a time is over is seen at once.
	idTick = time.Second
)

// handle and id carry an ID in the place that a settlement has for its handle, so that an op is no larger for it.
func (id ID) handle() Handle {
	return Handle{binary.BigEndian.Uint64(id[:]), binary.BigEndian.Uint32(id[8:]), binary.BigEndian.Uint32(id[12:])}
}

func (h Handle) id() (id ID) {
	binary.BigEndian.PutUint64(id[:], h.Seq)
	binary.BigEndian.PutUint32(id[8:], h.Attempt)
	binary.BigEndian.PutUint32(id[12:], h.reader)
	return id
}

// idTable is what a queue remembers of records that had an ID. Until there is one it is empty.
type idTable struct {
	// changed by run with mu held, read by others with mu held
	mu    sync.Mutex
	known map[ID]*idGroup

	// owned by run
	groups []*idGroup // those whose records are kept, oldest first
	doubts []doubted  // entries whose IDs do not count, in order
}

// idGroup are the IDs of a chunk's records, or in a memory queue of the records of about a second.
type idGroup struct {
	until time.Time // when they are forgotten; zero: their records are on the way to the log. As idTable.known

	// owned by run
	ids         []numberedID
	when        int64    // when the entry was made, in milliseconds since 1970
	again       []ticket // appends of the same records, to be told what becomes of the first
	first, last uint64   // log entries that stay until then, for whoever recovers the queue to find the IDs; 0: none
	settled     bool     // and no longer than that
	over        bool     // forgotten
}

// numberedID is the ID of a record and its index in its chunk.
type numberedID struct {
	id    ID
	index uint32
}

// holds tells whether the entries of a chunk have to stay in the log although its records are settled.
func (g *idGroup) holds() bool { return g != nil && g.first != 0 && !g.over }

// Remembers tells whether an append of a record with this ID would find that it is, or has been, in the queue or on its way. It does not wait.
func (q *Queue) Remembers(id ID) bool { return q.ids.find(id, q.now) != nil }

func (t *idTable) find(id ID, now func() time.Time) *idGroup {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.known[id]
	if g == nil || !g.until.IsZero() && !now().Before(g.until) {
		return nil
	}
	return g
}

// named tells whether the record of an append has an ID.
func (o *op) named() bool { return o.handle != Handle{} }

// repeats tells whether an append of a record with an ID is not to be made: the queue remembers it, or cannot remember one more. Its publisher is told, or will be.
func (q *Queue) repeats(o *op) bool {
	g := q.ids.find(o.handle.id(), q.now)
	switch {
	case g == nil && q.idsFull():
		q.kept.add(ticket{o.pub, o.tag}, errManyIDs)
	case g == nil:
		return false
	case !g.until.IsZero(): // which only this goroutine changes
		q.kept.add(ticket{o.pub, o.tag}, ErrDuplicate)
	case o.pub != nil:
		g.again = append(g.again, ticket{o.pub, o.tag})
	}
	return true
}

// idsFull tells whether no more IDs can be remembered. Queues that look at the same moment may take the last place of the budget together.
func (q *Queue) idsFull() bool {
	if len(q.ids.known) < maxIDs && q.cfg.Budget.fitsID() {
		return false
	}
	q.expireIDs(q.now())
	return len(q.ids.known) >= maxIDs || !q.cfg.Budget.fitsID()
}

// remember notes the ID of record i of c, which has just come.
func (q *Queue) remember(c *chunk, i int, id ID) {
	t := &q.ids
	g := c.ids
	if q.log == nil {
		g = q.recentIDs()
	} else if g == nil {
		g = &idGroup{}
		c.ids = g
	}
	g.ids = append(g.ids, numberedID{id, uint32(i)})
	t.mu.Lock()
	defer t.mu.Unlock()
	q.know(id, g)
}

// know puts an ID into the table. mu is held, or nobody else has the queue yet.
func (q *Queue) know(id ID, g *idGroup) {
	t := &q.ids
	if t.known == nil {
		t.known = map[ID]*idGroup{}
	}
	if t.known[id] == nil { // else that one's time is over
		q.cfg.Budget.addIDs(1)
	}
	t.known[id] = g
}

// recentIDs returns the group of a memory queue that an ID goes into.
func (q *Queue) recentIDs() *idGroup {
	t, until := &q.ids, q.now().Add(q.cfg.Remember)
	if n := len(t.groups); n > 0 {
		g := t.groups[n-1]
		if more := g.until.Sub(until); more >= 0 && more <= idTick {
			return g
		}
	}
	g := &idGroup{until: until.Add(idTick)} // so that none is forgotten early
	q.pushIDs(g)
	return g
}

// pushIDs adds a group whose records are kept.
func (q *Queue) pushIDs(g *idGroup) {
	q.ids.groups = append(q.ids.groups, g)
	if len(q.ids.groups) == 1 {
		q.at(g.until.Add(idTick))
	}
}

// idsKept takes note of what has become of a chunk whose records have IDs: the window begins, or nothing is left of them.
func (q *Queue) idsKept(c *chunk, err error) {
	g := c.ids
	outcome := err
	if err == nil {
		outcome = ErrDuplicate
	}
	for _, t := range g.again {
		q.kept.add(t, outcome)
	}
	g.again = nil
	if err != nil || q.deleted() {
		q.trimmer.doubt = q.trimmer.doubt || err != nil
		q.forgetIDs(g)
		c.ids = nil
		return
	}
	q.ids.mu.Lock()
	g.until = q.now().Add(q.cfg.Remember)
	q.ids.mu.Unlock()
	g.first, g.last = c.first, c.last
	q.pushIDs(g)
	if q.stream != nil {
		c.ids = nil // it leaves by retention, and may have been folded into another by then
	}
}

// oldest is the first log entry that stays for its IDs.
func (t *idTable) oldest() uint64 {
	for _, g := range t.groups {
		if g.first != 0 {
			return g.first
		}
	}
	return math.MaxUint64
}

// forgetIDs takes a group out of the table.
func (q *Queue) forgetIDs(g *idGroup) {
	t := &q.ids
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.known)
	for _, x := range g.ids {
		if t.known[x.id] == g {
			delete(t.known, x.id)
		}
	}
	q.cfg.Budget.addIDs(len(t.known) - n)
	if len(t.known) == 0 {
		t.known = nil
	}
	g.ids, g.over = nil, true
}

// expireIDs forgets what has been remembered for long enough; then chunks leave the log that stayed for it alone.
func (q *Queue) expireIDs(now time.Time) {
	t := &q.ids
	n := 0
	for ; n < len(t.groups) && !now.Before(t.groups[n].until); n++ {
		g := t.groups[n]
		t.groups[n] = nil
		q.forgetIDs(g)
		if g.settled {
			q.trimmer.drop(g.first, g.last)
		}
	}
	if t.groups = t.groups[n:]; len(t.groups) == 0 {
		t.groups = nil
	} else {
		q.at(t.groups[0].until.Add(idTick))
	}
	switch {
	case n == 0 || q.log == nil || q.end != nil:
	case q.stream != nil:
		q.log.Trim(q.needed(), nil)
	default:
		q.trim()
	}
}

// forgetAllIDs gives back what the budget has counted, when the queue ends.
func (q *Queue) forgetAllIDs() {
	t := &q.ids
	t.mu.Lock()
	defer t.mu.Unlock()
	q.cfg.Budget.addIDs(-len(t.known))
	t.known, t.groups = nil, nil
}

// tellAgain answers those who appended once more what is in c and will not be written.
func (c *chunk) tellAgain(kept *completions, err error) {
	if c.ids == nil {
		return
	}
	for _, t := range c.ids.again {
		kept.add(t, err)
	}
	c.ids.again = nil
}

// recoverIDs gives chunk k the IDs that its entry has, unless their time is over.
func (q *Queue) recoverIDs(k *chunk, head idHead) error {
	if n := len(head.ids); n == 0 || int(head.ids[n-1].index) >= k.count {
		if n > 0 {
			return fmt.Errorf("%w: id of record %d of %d", ErrCorrupt, head.ids[n-1].index, k.count)
		}
		return nil
	}
	now := q.now()
	left := q.cfg.Remember - max(now.Sub(time.UnixMilli(head.when)), 0)
	if left <= 0 {
		return nil
	}
	g := &idGroup{ids: head.ids, until: now.Add(left), first: k.first, last: k.last}
	for _, x := range g.ids {
		q.know(x.id, g)
	}
	if q.stream == nil {
		k.ids = g
	}
	q.pushIDs(g)
	return nil
}
