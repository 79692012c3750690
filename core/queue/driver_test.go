package queue_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// driver applies random operations to a queue and its model.
type driver struct {
	t        *testing.T
	rnd      *rand.Rand
	model    model
	q        *queue.Queue
	disk     *queuetest.Disk // nil: memory
	log      *queuetest.Log
	cfg      queue.Config
	clock    atomic.Int64 // milliseconds since 1970
	governed bool         // rules and times change
	buried   bool         // there are dead letters
	morgue   *graves
	nextID   uint64
	acked    map[uint64]bool // settlements reported durable
	refused  map[uint64]bool // appends reported refused
	unkept   map[uint64]bool // taken with AutoAck before they would have been written
	large    bool
	named    bool // records have IDs
}

// inTray keeps what a consumer gets.
type inTray struct {
	mu      sync.Mutex
	arrived []queue.Delivery
}

func (c *inTray) put(ds []queue.Delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrived = append(c.arrived, ds...)
}

func (c *inTray) take() []queue.Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.arrived
	c.arrived = nil
	return a
}

// graves takes dead letters, but for every thirtieth.
type graves struct {
	mu     sync.Mutex
	tries  int
	buried map[uint64]queue.Reason
}

func (g *graves) bury(d queue.Dead, done func(error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tries++
	if d.Seq != 0 && g.tries%30 == 0 {
		done(queuetest.ErrRefused)
		return
	}
	g.buried[binary.BigEndian.Uint64(d.Record)] = d.Reason
	done(nil)
}

func (d *driver) open() {
	if d.buried {
		d.morgue = &graves{buried: map[uint64]queue.Reason{}}
		d.cfg.DeadLetter = d.morgue.bury
	}
	d.cfg.Now = func() time.Time { return time.UnixMilli(d.clock.Load()) }
	var log queue.Log
	if d.disk != nil {
		d.log = d.disk.Open()
		log = d.log
	}
	q, err := queue.Open(d.cfg, log)
	if err != nil {
		d.t.Fatalf("open: %v", err)
	}
	d.q = q
	d.model.reopened(d.cfg.Remember)
	d.model.rules, d.model.maxPriority, d.model.single = d.cfg.Rules, d.cfg.MaxPriority, d.cfg.SingleActive
}

// append appends records that are one batch, or each one of its own.
func (d *driver) append() {
	n := 1 + d.rnd.IntN(30)
	if d.rnd.IntN(3) == 0 {
		for range min(n, 5) {
			d.batch(1)
		}
		return
	}
	resume := d.q.Stall()
	d.batchWith(n, resume)
}

func (d *driver) batch(n int) { d.batchWith(n, func() {}) }

func (d *driver) batchWith(n int, resume func()) {
	kept, want := make([]chan error, n), make([]error, n)
	for i := range n {
		rec, bound := d.record()
		name := d.model.name(d)
		switch {
		case d.model.remembers(name):
			want[i] = queue.ErrDuplicate
		case !d.model.append(rec):
			want[i] = queue.ErrOverflow
		default:
			d.model.remember(name, d.cfg.Remember)
		}
		kept[i] = make(chan error, 1)
		d.q.AppendFunc(queue.Record{Data: rec.encode(), Priority: rec.priority, TTL: bound, ID: name}, func(err error) { kept[i] <- err })
	}
	resume()
	d.model.settle()
	for i := range kept {
		if err := <-kept[i]; !errors.Is(err, want[i]) {
			d.t.Fatalf("append %d of %d: %v, want %v", i, n, err, want[i])
		}
	}
}

// record returns a new record and the time to live that it is to be appended with.
func (d *driver) record() (*modelRecord, queue.Bound) {
	d.nextID++
	rec := &modelRecord{id: d.nextID, size: recordHead + d.rnd.IntN(200), priority: uint8(d.rnd.IntN(int(d.cfg.MaxPriority) + 1))}
	if d.large && d.rnd.IntN(400) == 0 {
		rec.size = 600<<10 + d.rnd.IntN(900<<10)
	}
	var own queue.Bound
	if d.governed && d.rnd.IntN(3) == 0 {
		own = queue.AtMost(d.rnd.Int64N(200))
	}
	ttl := own
	if rule := d.model.rules.TTL; rule.Set && (!ttl.Set || rule.N < ttl.N) {
		ttl = rule
	}
	if ttl.Set {
		rec.expires = d.clock.Load() + ttl.N
	}
	return rec, own
}

// recordHead is what a record says of itself.
const recordHead = 17

func (rec *modelRecord) encode() []byte {
	b := make([]byte, rec.size)
	binary.BigEndian.PutUint64(b, rec.id)
	binary.BigEndian.PutUint64(b[8:], uint64(rec.expires))
	b[16] = rec.priority
	for i := recordHead; i < rec.size; i++ {
		b[i] = byte(rec.id) + byte(i)
	}
	return b
}

func (d *driver) decode(b []byte) *modelRecord {
	rec := &modelRecord{id: binary.BigEndian.Uint64(b), size: len(b), expires: int64(binary.BigEndian.Uint64(b[8:])), priority: b[16]}
	if string(b) != string(rec.encode()) {
		d.t.Fatalf("record %d is damaged", rec.id)
	}
	return rec
}

// refuse appends while the disk refuses: what is not kept is gone, wherever it is by then.
func (d *driver) refuse() {
	if d.disk == nil || d.model.limited() || d.model.rules.TTL.Set {
		return
	}
	d.disk.Refuse(true)
	kept := map[uint64]chan error{}
	for range 1 + d.rnd.IntN(30) {
		d.nextID++
		rec := &modelRecord{id: d.nextID, size: recordHead + d.rnd.IntN(200)}
		told := make(chan error, 1)
		kept[rec.id] = told
		d.q.AppendFunc(queue.Record{Data: rec.encode()}, func(err error) { told <- err })
	}
	for id, told := range kept {
		if <-told == nil {
			d.unkept[id] = true
		} else {
			d.refused[id] = true
		}
	}
	d.stats()
	for _, c := range d.model.consumers {
		d.collect(c)
	}
	d.disk.Refuse(false)
}

func (d *driver) consume() {
	if len(d.model.consumers) >= 6 {
		return
	}
	mc := &modelConsumer{came: &inTray{}, credit: d.rnd.IntN(20), window: d.rnd.IntN(2) == 0, auto: d.rnd.IntN(6) == 0}
	if d.governed {
		mc.priority = d.rnd.IntN(3) - 1
	}
	c, err := d.q.Consume(queue.ConsumerConfig{Credit: mc.credit, Window: mc.window, AutoAck: mc.auto, Priority: mc.priority, Deliver: mc.came.put})
	if err != nil {
		d.t.Fatalf("consume: %v", err)
	}
	mc.c = c
	d.model.consumers = append(d.model.consumers, mc)
	if d.model.sole == nil {
		d.model.succeed()
	}
}

func (d *driver) pick() *modelConsumer {
	if len(d.model.consumers) == 0 {
		return nil
	}
	return d.model.consumers[d.rnd.IntN(len(d.model.consumers))]
}

func (d *driver) grant() {
	if c := d.pick(); c != nil {
		n := 1 + d.rnd.IntN(10)
		c.credit += n
		c.c.Grant(n)
	}
}

func (d *driver) settle() {
	held := d.model.held(nil)
	if len(held) == 0 {
		return
	}
	d.rnd.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
	held = held[:1+d.rnd.IntN(len(held))]
	outcome := queue.Outcome(d.rnd.IntN(3))
	var hs []queue.Handle
	for _, rec := range held {
		hs = append(hs, rec.handle)
	}
	var done chan error
	if d.rnd.IntN(8) == 0 {
		done = make(chan error, 1)
		d.q.Settle(outcome, hs, func(err error) { done <- err })
	} else {
		d.q.Settle(outcome, hs, nil)
	}
	for _, rec := range held {
		d.model.settled(rec, outcome)
	}
	if outcome == queue.Requeue {
		d.model.trim()
	}
	if done == nil {
		return
	}
	if err := <-done; err != nil {
		d.t.Fatalf("settle: %v", err)
	}
	for _, rec := range held {
		d.acked[rec.id] = outcome == queue.Ack || outcome == queue.Reject && !d.buried
	}
}

func (d *driver) stale() {
	h := queue.Handle{Seq: 1 + d.rnd.Uint64N(d.nextID+1), Attempt: 900}
	done := make(chan error, 1)
	d.q.Settle(queue.Ack, []queue.Handle{h}, func(err error) { done <- err })
	if err := <-done; !errors.Is(err, queue.ErrStale) {
		d.t.Fatalf("settling %v: %v, want ErrStale", h, err)
	}
}

func (d *driver) leave() {
	c := d.pick()
	if c == nil {
		return
	}
	d.model.leave(c)
	if d.rnd.IntN(3) == 0 {
		c.c.Cancel() // what it holds stays
		d.check()
	}
	c.c.Close()
	d.model.comeBack(c)
	i := slices.Index(d.model.consumers, c)
	d.model.consumers = slices.Delete(d.model.consumers, i, i+1)
}

func (d *driver) get() {
	ready, head := len(d.model.ready()), d.model.head()
	got, ok, err := d.q.Get(true, nil)
	if err != nil || ok != (ready > 0) {
		d.t.Fatalf("get: %v, %v with %d ready", ok, err, ready)
	}
	if !ok {
		return
	}
	d.model.remove(head)
	d.model.settle()
	if id, left := d.decode(got.Record).id, len(d.model.ready()); id != head.id || got.Ready != left {
		d.t.Fatalf("get: record %d, %d left; want %d, %d left", id, got.Ready, head.id, left)
	}
}

func (d *driver) purge() {
	ready := d.model.ready()
	n, err := d.q.Purge()
	if err != nil || n != len(ready) {
		d.t.Fatalf("purge: %d, %v; want %d", n, err, len(ready))
	}
	for _, rec := range ready {
		d.model.remove(rec)
	}
}

// pass lets time go by, and now and then puts the clock back.
func (d *driver) pass() {
	if !d.governed && !d.named {
		return
	}
	by := d.rnd.Int64N(60)
	if d.rnd.IntN(10) == 0 {
		by = -by
	}
	d.clock.Add(by)
	d.model.now = d.clock.Load()
	d.model.latest = max(d.model.latest, d.model.now)
}

// govern changes the rules.
func (d *driver) govern() {
	if !d.governed {
		return
	}
	r := queue.Rules{MaxDeliveries: d.cfg.MaxDeliveries, DeadLetter: d.cfg.DeadLetter, Overflow: queue.Overflow(d.rnd.IntN(3))}
	if d.rnd.IntN(4) == 0 {
		r.TTL = queue.AtMost(d.rnd.Int64N(300))
	}
	if d.rnd.IntN(3) == 0 {
		r.MaxLength = queue.AtMost(d.rnd.Int64N(80))
	}
	if d.rnd.IntN(3) == 0 {
		r.MaxBytes = queue.AtMost(d.rnd.Int64N(10_000))
	} else if d.cfg.Resident > 0 {
		r.MaxBytes = queue.AtMost(1 << 40) // what is not in memory would be guessed if it were set later
	}
	d.rule(r)
}

func (d *driver) rule(r queue.Rules) {
	if err := d.q.Govern(r); err != nil {
		d.t.Fatalf("govern: %v", err)
	}
	d.cfg.Rules, d.model.rules = r, r
	d.model.trim()
}

func (d *driver) stats() queue.Stats {
	s, err := d.q.Stats()
	if err != nil {
		d.t.Fatalf("stats: %v", err)
	}
	return s
}

func (d *driver) String() string {
	return fmt.Sprintf("%d records, %d taken, rules %+v", len(d.model.records), len(d.model.taken), d.model.rules)
}
