package queue_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// model is what a queue must be, kept as simply as can be: every record in order, with who holds it.
type model struct {
	rules       queue.Rules
	maxPriority uint8
	single      bool
	now         int64 // milliseconds since 1970

	records   []*modelRecord // those that are ready or held, by number
	byID      map[uint64]*modelRecord
	consumers []*modelConsumer // those that were cancelled included
	sole      *modelConsumer
	taken     []*modelRecord // what somebody must have got since the last check, in this order
	dead      map[uint64]queue.Reason

	latest int64              // what now has been at most
	until  map[queue.ID]int64 // when IDs are forgotten, in milliseconds since 1970
}

type modelRecord struct {
	id       uint64
	size     int
	priority uint8
	expires  int64 // 0: never
	fresh    bool  // not offered yet
	held     bool
	holder   *modelConsumer // nil: nobody knows yet
	handle   queue.Handle
	attempts uint32
	unsure   bool // may have been seen before a crash: redelivered may be either
}

type modelConsumer struct {
	c         *queue.Consumer
	came      *inTray
	credit    int
	priority  int
	window    bool
	auto      bool
	cancelled bool
}

// ready returns what may be delivered, by number.
func (m *model) ready() (r []*modelRecord) {
	for _, rec := range m.records {
		if !rec.held {
			r = append(r, rec)
		}
	}
	return r
}

// held returns what by, or anybody, has.
func (m *model) held(by *modelConsumer) (r []*modelRecord) {
	for _, rec := range m.records {
		if rec.held && (by == nil || rec.holder == by) {
			r = append(r, rec)
		}
	}
	return r
}

// head is the record to be delivered next.
func (m *model) head() (head *modelRecord) {
	for _, rec := range m.records {
		if !rec.held && (head == nil || rec.priority > head.priority) {
			head = rec
			if m.maxPriority == 0 {
				return head
			}
		}
	}
	return head
}

func (m *model) remove(rec *modelRecord) {
	delete(m.byID, rec.id)
	i := slices.Index(m.records, rec)
	m.records = slices.Delete(m.records, i, i+1)
}

func (m *model) die(rec *modelRecord, why queue.Reason) {
	m.remove(rec)
	m.dead[rec.id] = why
}

// mayTake tells whether c gets deliveries, if it has credit.
func (m *model) mayTake(c *modelConsumer) bool {
	return !c.cancelled && (!m.single || c == m.sole)
}

// credit is what all consumers may take, less what they must have got already.
func (m *model) credit() (n int) {
	for _, c := range m.consumers {
		if m.mayTake(c) {
			n += c.credit
		}
	}
	return n - len(m.taken)
}

// leave ends the deliveries to a consumer.
func (m *model) leave(c *modelConsumer) {
	c.cancelled = true
	if m.sole == c {
		m.sole = nil
		m.succeed()
	}
}

func (m *model) succeed() {
	for _, c := range m.consumers {
		if m.single && !c.cancelled && (m.sole == nil || c.priority > m.sole.priority) {
			m.sole = c
		}
	}
}

func (m *model) over(rec *modelRecord) bool {
	return rec.expires != 0 && !rec.fresh && rec.expires <= m.now
}

// handOut gives consumers what they can take.
func (m *model) handOut() {
	credit := m.credit()
	for {
		switch head := m.head(); {
		case head == nil:
			return
		case m.over(head):
			m.die(head, queue.Expired)
		case credit == 0:
			return
		default:
			credit--
			head.held, head.holder, head.fresh = true, nil, false
			m.taken = append(m.taken, head)
		}
	}
}

// settle is what happens at the end of every batch.
func (m *model) settle() {
	m.handOut()
	for _, rec := range m.records {
		rec.fresh = false
	}
	m.handOut()
}

// above tells whether one more record of this size would be too much; negative: whether there is too much.
func (m *model) above(size int) bool {
	length, weight := 0, 0
	for _, rec := range m.ready() {
		length++
		weight += rec.size
	}
	if size >= 0 {
		length++
		weight += size
	}
	return m.rules.MaxLength.Set && int64(length) > m.rules.MaxLength.N || m.rules.MaxBytes.Set && int64(weight) > m.rules.MaxBytes.N
}

// name returns an ID for a new record: none, a new one, or one that has been used.
func (m *model) name(d *driver) queue.ID {
	if !d.named || d.rnd.IntN(3) == 0 {
		return queue.ID{}
	}
	name := queue.ID{15: 1}
	binary.BigEndian.PutUint64(name[:], d.rnd.Uint64N(400))
	if until, ok := m.until[name]; ok && m.now < until+idSlack && m.latest >= until {
		return queue.ID{} // its time is about to be over, or was when the clock was ahead
	}
	return name
}

// idSlack is how much longer than it has to a queue may remember an ID.
const idSlack = 1000

func (m *model) remembers(name queue.ID) bool { return m.now < m.until[name] }

func (m *model) remember(name queue.ID, window time.Duration) {
	if name != (queue.ID{}) {
		m.until[name] = m.now + window.Milliseconds()
	}
}

// reopened is what a queue knows of IDs when it is opened: none longer than from now on, if the clock has been put back.
func (m *model) reopened(window time.Duration) {
	for name, until := range m.until {
		m.until[name] = min(until, m.now+window.Milliseconds())
	}
}

func (m *model) limited() bool { return m.rules.MaxLength.Set || m.rules.MaxBytes.Set }

// trim lets the first records die.
func (m *model) trim() {
	for m.limited() && m.rules.Overflow == queue.DropHead && m.above(-1) && m.head() != nil {
		m.die(m.head(), queue.MaxLength)
	}
}

// append adds a record, or says that it is refused. What follows in the same batch has not been looked at.
func (m *model) append(rec *modelRecord) bool {
	if m.limited() && m.above(rec.size) {
		m.settle()
		if m.rules.Overflow != queue.DropHead && m.above(rec.size) {
			if m.rules.Overflow == queue.RejectPublishDLX {
				m.dead[rec.id] = queue.MaxLength
			}
			return false
		}
	}
	rec.fresh = true
	m.records = append(m.records, rec)
	m.byID[rec.id] = rec
	if m.limited() && m.above(-1) {
		m.handOut()
		m.trim()
	}
	return true
}

// settled is what a settlement does, but for what follows from it.
func (m *model) settled(rec *modelRecord, outcome queue.Outcome) {
	if c := rec.holder; c.window {
		c.credit++
	}
	rec.held, rec.holder = false, nil
	switch outcome {
	case queue.Ack:
		m.remove(rec)
	case queue.Reject:
		m.die(rec, queue.Rejected)
	}
}

// comeBack returns to the queue all that is held by somebody, or anybody.
func (m *model) comeBack(from *modelConsumer) {
	for _, rec := range m.held(from) {
		rec.held, rec.holder = false, nil
	}
	m.trim()
}

func (d *driver) step() {
	steps := []struct {
		weight int
		do     func()
	}{
		{30, d.append}, {8, d.consume}, {15, d.grant}, {35, d.settle}, {4, d.leave}, {10, d.get}, {3, d.stale}, {3, d.refuse}, {12, d.pass}, {2, d.govern},
	}
	switch d.rnd.IntN(1000) {
	case 0:
		d.purge()
	case 1:
		d.restart()
	case 2:
		d.crash()
	case 3, 4, 5, 6, 7:
		d.checkGraves()
	}
	if len(d.model.records) > 400 {
		d.purge()
	}
	n := d.rnd.IntN(122)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			s.do()
			break
		}
	}
	d.check()
}

// TestModel runs random operations against the queue and a model of it, on both stores.
func TestModel(t *testing.T) {
	steps := 100_000 / 3 // each store has three
	if testing.Short() {
		steps = 3_000
	}
	little := queue.Rules{MaxBytes: queue.AtMost(1 << 40)}
	drivers := map[string]*driver{
		"memory":                              {},
		"memory, governed, ids":               {governed: true, buried: true, named: true},
		"memory, priorities, governed":        {governed: true, cfg: queue.Config{MaxPriority: 5}},
		"log":                                 {disk: &queuetest.Disk{}, cfg: queue.Config{Rules: queue.Rules{MaxDeliveries: 1 << 30}}},
		"log, ids":                            {disk: &queuetest.Disk{}, named: true, cfg: queue.Config{Rules: queue.Rules{MaxDeliveries: 1 << 30}}},
		"log, single active, governed, ids":   {disk: &queuetest.Disk{}, governed: true, buried: true, named: true, cfg: queue.Config{SingleActive: true}},
		"log, priorities, governed":           {disk: &queuetest.Disk{}, governed: true, buried: true, cfg: queue.Config{MaxPriority: 3}},
		"little memory":                       {disk: &queuetest.Disk{}, large: true, cfg: queue.Config{Resident: 10_000}},
		"little memory, governed, ids":        {disk: &queuetest.Disk{}, governed: true, named: true, cfg: queue.Config{Resident: 5_000, Rules: little}},
		"little memory, priorities, governed": {disk: &queuetest.Disk{}, governed: true, buried: true, cfg: queue.Config{Resident: 5_000, MaxPriority: 3, Rules: little}},
	}
	for name, d := range drivers {
		steps := steps
		if d.cfg.Resident > 0 && os.Getenv("E2E") != "long" {
			steps /= 10 // they read back all the time
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			d.run(t, seed, steps)
		})
	}
}

func (d *driver) run(t *testing.T, seed uint64, steps int) {
	d.t, d.rnd = t, rand.New(rand.NewPCG(seed, 1))
	d.model.byID, d.model.dead, d.model.until = map[uint64]*modelRecord{}, map[uint64]queue.Reason{}, map[queue.ID]int64{}
	d.cfg.Remember = 2 * time.Second
	d.acked, d.refused, d.unkept = map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}
	d.cfg.Name = t.Name()
	d.clock.Store(1_900_000_000_000)
	d.model.now, d.model.latest = d.clock.Load(), d.clock.Load()
	d.open()
	for range steps {
		d.step()
	}
	d.checkGraves()
	if _, err := d.q.Delete(false, false); err != nil {
		t.Fatal(err)
	}
	if d.disk != nil && d.disk.Len() != 0 {
		t.Fatal("entries left: ", d.disk.Len())
	}
}
