package queue_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// model is what a queue must be, kept as simply as can be: every record in order, with who holds it.
type model struct {
	records   []*modelRecord
	byID      map[uint64]*modelRecord
	consumers []*modelConsumer
}

type modelRecord struct {
	id       uint64
	size     int
	holder   *modelConsumer // nil: ready
	handle   queue.Handle
	attempts uint32
	unsure   bool // may have been seen before a crash: redelivered may be either
}

type modelConsumer struct {
	c         *queue.Consumer
	credit    int
	window    bool
	auto      bool
	cancelled bool
	mu        sync.Mutex
	arrived   []queue.Delivery
}

func (c *modelConsumer) take() []queue.Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.arrived
	c.arrived = nil
	return a
}

func (m *model) ready() (r []*modelRecord) {
	for _, rec := range m.records {
		if rec.holder == nil {
			r = append(r, rec)
		}
	}
	return r
}

func (m *model) held(by *modelConsumer) (r []*modelRecord) {
	for _, rec := range m.records {
		if rec.holder != nil && (by == nil || rec.holder == by) {
			r = append(r, rec)
		}
	}
	return r
}

func (m *model) remove(rec *modelRecord) {
	delete(m.byID, rec.id)
	i := slices.Index(m.records, rec)
	m.records = slices.Delete(m.records, i, i+1)
}

// driver applies random operations to a queue and its model.
type driver struct {
	t       *testing.T
	rnd     *rand.Rand
	model   model
	q       *queue.Queue
	disk    *queuetest.Disk // nil: memory
	log     *queuetest.Log
	cfg     queue.Config
	nextID  uint64
	acked   map[uint64]bool // settlements reported durable
	refused map[uint64]bool // appends reported refused
	large   bool
}

func (d *driver) open() {
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
}

func (d *driver) append() {
	kept := make(chan error, 64)
	n := 1 + d.rnd.IntN(30)
	for range n {
		d.nextID++
		size := 8 + d.rnd.IntN(200)
		if d.large && d.rnd.IntN(400) == 0 {
			size = 600<<10 + d.rnd.IntN(900<<10)
		}
		rec := &modelRecord{id: d.nextID, size: size}
		d.model.records = append(d.model.records, rec)
		d.model.byID[rec.id] = rec
		d.q.AppendFunc(queue.Record{Data: encodeID(rec.id, size)}, func(err error) { kept <- err })
	}
	for range n {
		if err := <-kept; err != nil {
			d.t.Fatalf("append: %v", err)
		}
	}
}

// refuse appends while the disk refuses: what is not kept is gone, wherever it is by then.
func (d *driver) refuse() {
	if d.disk == nil {
		return
	}
	d.disk.Refuse(true)
	n := 1 + d.rnd.IntN(30)
	first := d.nextID + 1
	kept := make([]chan error, n)
	for i := range kept {
		kept[i] = make(chan error, 1)
		d.nextID++
		d.q.AppendFunc(queue.Record{Data: encodeID(d.nextID, 8+d.rnd.IntN(200))}, func(err error) { kept[i] <- err })
	}
	for i, k := range kept {
		if err := <-k; err != nil {
			d.refused[first+uint64(i)] = true
			continue
		}
		rec := &modelRecord{id: first + uint64(i)} // taken with AutoAck before it would have been written
		d.model.records = append(d.model.records, rec)
		d.model.byID[rec.id] = rec
	}
	for _, c := range d.model.consumers {
		d.collect(c)
	}
	for i := range n {
		if d.model.byID[first+uint64(i)] != nil {
			d.t.Fatalf("record %d is kept by a disk that refuses", first+uint64(i))
		}
	}
	d.disk.Refuse(false)
}

func encodeID(id uint64, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint64(b, id)
	for i := 8; i < size; i++ {
		b[i] = byte(id) + byte(i)
	}
	return b
}

func (d *driver) decodeID(b []byte) uint64 {
	id := binary.BigEndian.Uint64(b)
	if string(b) != string(encodeID(id, len(b))) {
		d.t.Fatalf("record %d is damaged", id)
	}
	return id
}

func (d *driver) consume() {
	if len(d.model.consumers) >= 6 {
		return
	}
	mc := &modelConsumer{credit: d.rnd.IntN(20), window: d.rnd.IntN(2) == 0, auto: d.rnd.IntN(6) == 0}
	c, err := d.q.Consume(queue.ConsumerConfig{
		Credit: mc.credit, Window: mc.window, AutoAck: mc.auto,
		Deliver: func(ds []queue.Delivery) {
			mc.mu.Lock()
			defer mc.mu.Unlock()
			mc.arrived = append(mc.arrived, ds...)
		},
	})
	if err != nil {
		d.t.Fatalf("consume: %v", err)
	}
	mc.c = c
	d.model.consumers = append(d.model.consumers, mc)
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
		d.settled(rec, outcome)
	}
	if done != nil {
		if err := <-done; err != nil {
			d.t.Fatalf("settle: %v", err)
		}
		for _, rec := range held {
			d.acked[rec.id] = outcome != queue.Requeue
		}
	}
}

func (d *driver) settled(rec *modelRecord, outcome queue.Outcome) {
	c := rec.holder
	if c.window {
		c.credit++
	}
	rec.holder = nil
	if outcome == queue.Requeue {
		return
	}
	d.model.remove(rec)
}

func (d *driver) stale() {
	h := queue.Handle{Seq: 1 + d.rnd.Uint64N(d.nextID+1), Attempt: 900}
	done := make(chan error, 1)
	d.q.Settle(queue.Ack, []queue.Handle{h}, func(err error) { done <- err })
	if err := <-done; err != queue.ErrStale {
		d.t.Fatalf("settling %v: %v, want ErrStale", h, err)
	}
}

func (d *driver) leave() {
	c := d.pick()
	if c == nil {
		return
	}
	if d.rnd.IntN(3) == 0 {
		c.c.Cancel() // what it holds stays
		c.cancelled = true
		d.check()
	}
	c.c.Close()
	d.collect(c)
	for _, rec := range d.model.held(c) {
		rec.holder = nil
	}
	i := slices.Index(d.model.consumers, c)
	d.model.consumers = slices.Delete(d.model.consumers, i, i+1)
}

func (d *driver) get() {
	ready := d.model.ready()
	got, ok, err := d.q.Get(true, nil)
	if err != nil || ok != (len(ready) > 0) {
		d.t.Fatalf("get: %v, %v with %d ready", ok, err, len(ready))
	}
	if !ok {
		return
	}
	if id := d.decodeID(got.Record); id != ready[0].id || got.Ready != len(ready)-1 {
		d.t.Fatalf("get: record %d, %d left; want %d, %d left", id, got.Ready, ready[0].id, len(ready)-1)
	}
	d.model.remove(ready[0])
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

// collect takes what has arrived at c into the model.
func (d *driver) collect(c *modelConsumer) (n int) {
	for _, del := range c.take() {
		id := d.decodeID(del.Record)
		if d.refused[id] {
			if !c.window || c.auto {
				c.credit--
			}
			continue
		}
		rec := d.model.byID[id]
		if rec == nil || rec.holder != nil {
			d.t.Fatalf("delivered record %v, which is gone or held", del.Handle)
		}
		if del.Redelivered != (rec.attempts > 0) && !rec.unsure {
			d.t.Fatalf("record %d: redelivered %v after %d attempts", rec.id, del.Redelivered, rec.attempts)
		}
		n++
		rec.attempts, rec.unsure = rec.attempts+1, false
		rec.handle, rec.holder = del.Handle, c
		c.credit--
		if c.credit < 0 {
			d.t.Fatalf("consumer got more than its credit")
		}
		if c.auto {
			d.model.remove(rec)
		}
	}
	return n
}

// check waits until all that can be delivered has been, and compares.
func (d *driver) check() {
	ready, credit, consumers := d.model.ready(), 0, 0
	for _, c := range d.model.consumers {
		if !c.cancelled {
			consumers++
			credit += c.credit
		}
	}
	want := min(len(ready), credit)
	held := len(d.model.held(nil))
	auto := 0
	deadline := time.Now().Add(20 * time.Second)
	for got := 0; got < want; {
		if _, err := d.q.Stats(); err != nil {
			d.t.Fatalf("stats: %v", err)
		}
		for _, c := range d.model.consumers {
			n := d.collect(c)
			got += n
			if c.auto {
				auto += n
			}
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("only %d of %d deliverable records were delivered (%d ready)", got, want, len(ready))
		}
	}
	for i, rec := range ready {
		if (rec.holder != nil || d.model.byID[rec.id] == nil) != (i < want) {
			d.t.Fatalf("not the lowest were delivered: record %d at %d of %d", rec.id, i, want)
		}
	}
	s, err := d.q.Stats()
	if err != nil || s.Ready != len(ready)-want || s.Unacked != held+want-auto || s.Consumers != consumers {
		d.t.Fatalf("stats %+v, %v; want %d ready, %d unacked, %d consumers", s, err, len(ready)-want, held+want-auto, consumers)
	}
}

// restart closes the queue in good order and opens it again: everything unsettled is ready.
func (d *driver) restart() {
	if d.disk == nil {
		return
	}
	if err := d.q.Close(); err != nil {
		d.t.Fatalf("close: %v", err)
	}
	d.forgetConsumers()
	d.open()
	d.check()
}

// crash tears the log and opens the queue again: what was kept is there, what was durably settled is not.
func (d *driver) crash() {
	if d.disk == nil {
		return
	}
	torn, log := d.q, d.log
	log.Tear()
	d.forgetConsumers()
	d.open()
	log.Abandon()
	_ = torn.Close()
	present := map[uint64]bool{}
	var list []*modelRecord
	for _, id := range d.drain() {
		present[id] = true
		if d.refused[id] {
			d.t.Fatalf("record %d came back though its append was refused and never written", id)
		}
		rec := d.model.byID[id]
		if rec == nil {
			if d.acked[id] {
				d.t.Fatalf("record %d came back after its settlement was durable", id)
			}
			rec = &modelRecord{id: id}
		}
		rec.attempts, rec.unsure = 1, false
		list = append(list, rec)
	}
	for _, rec := range d.model.records {
		if !present[rec.id] {
			d.t.Fatalf("record %d was lost", rec.id)
		}
	}
	d.model.records = list
	d.model.byID = map[uint64]*modelRecord{}
	for _, rec := range list {
		d.model.byID[rec.id] = rec
	}
	d.check()
}

// drain lets a consumer hold everything, in order, and gives it back.
func (d *driver) drain() (ids []uint64) {
	s, err := d.q.Stats()
	if err != nil {
		d.t.Fatalf("stats: %v", err)
	}
	all := make(chan uint64, s.Ready)
	c, err := d.q.Consume(queue.ConsumerConfig{Credit: queue.Unlimited, Deliver: func(ds []queue.Delivery) {
		for _, del := range ds {
			all <- d.decodeID(del.Record)
		}
	}})
	if err != nil {
		d.t.Fatalf("consume: %v", err)
	}
	for range s.Ready {
		select {
		case id := <-all:
			ids = append(ids, id)
		case <-time.After(20 * time.Second):
			d.t.Fatalf("drained only %d of %d", len(ids), s.Ready)
		}
	}
	c.Close()
	return ids
}

func (d *driver) forgetConsumers() {
	d.model.consumers = nil
	for _, rec := range d.model.records {
		rec.holder = nil
		rec.unsure = true
	}
}

func (d *driver) step() {
	steps := []struct {
		weight int
		do     func()
	}{
		{30, d.append}, {8, d.consume}, {15, d.grant}, {35, d.settle}, {4, d.leave}, {10, d.get}, {3, d.stale}, {3, d.refuse},
	}
	if n := d.rnd.IntN(1000); n == 0 {
		d.purge()
	} else if n == 1 {
		d.restart()
	} else if n == 2 {
		d.crash()
	}
	if len(d.model.records) > 3000 {
		d.purge()
	}
	n := d.rnd.IntN(108)
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
	steps := 100_000
	if testing.Short() {
		steps = 5_000
	}
	stores := map[string]*driver{
		"memory": {cfg: queue.Config{Name: "m"}},
		"log":    {cfg: queue.Config{Name: "l"}, disk: &queuetest.Disk{}},
		"log with little memory": {
			cfg: queue.Config{Name: "s", Resident: 10_000}, disk: &queuetest.Disk{}, large: true,
		},
		"log with counted deliveries": {cfg: queue.Config{Name: "c", Rules: queue.Rules{MaxDeliveries: 1 << 30}}, disk: &queuetest.Disk{}},
	}
	for name, d := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			d.t, d.rnd = t, rand.New(rand.NewPCG(seed, 1))
			d.model.byID, d.acked, d.refused = map[uint64]*modelRecord{}, map[uint64]bool{}, map[uint64]bool{}
			d.open()
			for range steps {
				d.step()
			}
			if _, err := d.q.Delete(false, false); err != nil {
				t.Fatal(err)
			}
			if d.disk != nil && d.disk.Len() != 0 {
				t.Fatal(fmt.Sprint("entries left: ", d.disk.Len()))
			}
		})
	}
}
