package queue_test

import (
	"cmp"
	"slices"
	"time"

	"portico/core/queue"
)

// collect takes what has arrived at c into the model.
func (d *driver) collect(c *modelConsumer) (n int) {
	last := -1
	for _, del := range c.came.take() {
		id := d.decode(del.Record).id
		if d.refused[id] || d.unkept[id] {
			if d.unkept[id] && !c.auto {
				d.t.Fatalf("record %d is kept by a disk that refuses", id)
			}
			if !c.window || c.auto {
				c.credit--
			}
			continue
		}
		at := slices.IndexFunc(d.model.taken, func(rec *modelRecord) bool { return rec.id == id })
		if at < 0 || d.model.taken[at].holder != nil || !d.model.mayTake(c) {
			d.t.Fatalf("record %d was not to be delivered, or not to this consumer: %v", id, d)
		}
		if at <= last {
			d.t.Fatalf("record %d was delivered too late", id)
		}
		last = at
		n++
		d.deliver(c, d.model.taken[at], del)
	}
	return n
}

func (d *driver) deliver(c *modelConsumer, rec *modelRecord, del queue.Delivery) {
	if del.Redelivered != (rec.attempts > 0) && !rec.unsure {
		d.t.Fatalf("record %d: redelivered %v after %d attempts", rec.id, del.Redelivered, rec.attempts)
	}
	rec.attempts, rec.unsure = rec.attempts+1, false
	rec.handle, rec.holder = del.Handle, c
}

// check waits until all that can be delivered has been, and compares.
func (d *driver) check() {
	d.model.settle()
	deadline := time.Now().Add(20 * time.Second)
	got := map[*modelConsumer]int{}
	for n := 0; n < len(d.model.taken); {
		d.stats()
		for _, c := range d.model.consumers {
			came := d.collect(c)
			got[c] += came
			n += came
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("only %d of %d deliverable records were delivered: %v", n, len(d.model.taken), d)
		}
	}
	d.checkCredit(got)
	ready, held, consumers := len(d.model.ready()), len(d.model.held(nil)), 0
	for _, c := range d.model.consumers {
		if !c.cancelled {
			consumers++
		}
	}
	if s := d.stats(); s.Ready != ready || s.Unacked != held || s.Consumers != consumers {
		d.t.Fatalf("stats %+v; want %d ready, %d unacked, %d consumers; %v", s, ready, held, consumers, d)
	}
}

// checkCredit settles what each consumer got, and makes sure that nobody was passed over.
func (d *driver) checkCredit(got map[*modelConsumer]int) {
	for _, rec := range d.model.taken {
		if rec.holder.auto {
			d.model.remove(rec)
		}
	}
	d.model.taken = nil
	for c, n := range got {
		if c.credit -= n; c.credit < 0 {
			d.t.Fatal("a consumer got more than its credit")
		}
	}
	for c, n := range got {
		for _, other := range d.model.consumers {
			if n > 0 && other.priority > c.priority && other.credit > 0 && d.model.mayTake(other) {
				d.t.Fatalf("a consumer of priority %d got %d, and one of priority %d could take %d more", c.priority, n, other.priority, other.credit)
			}
		}
	}
}

// checkGraves waits until nothing is dying any more, and compares who died of what.
func (d *driver) checkGraves() {
	if !d.buried {
		clear(d.model.dead)
		return
	}
	d.rest()
	d.morgue.mu.Lock()
	defer d.morgue.mu.Unlock()
	for id, why := range d.model.dead {
		if got, ok := d.morgue.buried[id]; !ok || got != why {
			d.t.Fatalf("record %d died of %v (%v), want %v", id, got, ok, why)
		}
	}
	if len(d.morgue.buried) != len(d.model.dead) {
		d.t.Fatalf("%d have died, want %d", len(d.morgue.buried), len(d.model.dead))
	}
	clear(d.morgue.buried)
	clear(d.model.dead)
}

// rest waits until nothing is dying any more. Rules, though the same, make the queue try at once what has failed.
func (d *driver) rest() {
	for deadline := time.Now().Add(20 * time.Second); d.stats().Dying > 0; {
		if err := d.q.Govern(d.cfg.Rules); err != nil {
			d.t.Fatal(err)
		}
		if time.Now().After(deadline) {
			d.t.Fatal("records are dying and dying")
		}
	}
}

// restart closes the queue in good order and opens it again: everything unsettled is ready.
func (d *driver) restart() {
	if d.disk == nil {
		return
	}
	d.checkGraves()
	if err := d.q.Close(); err != nil {
		d.t.Fatalf("close: %v", err)
	}
	d.open()
	d.forgetConsumers()
	d.check()
}

// crash tears the log and opens the queue again: what was kept is there, what was durably settled is not.
func (d *driver) crash() {
	if d.disk == nil {
		return
	}
	d.checkGraves()
	torn, log := d.q, d.log
	log.Tear()
	d.open()
	d.forgetConsumers()
	log.Abandon()
	_ = torn.Close()
	d.rest()
	present := d.drain()
	byID := map[uint64]*modelRecord{}
	for _, rec := range present {
		byID[rec.id] = rec
		if d.refused[rec.id] {
			d.t.Fatalf("record %d came back though its append was refused and never written", rec.id)
		}
		if d.model.byID[rec.id] == nil && d.acked[rec.id] {
			d.t.Fatalf("record %d came back after its settlement was durable", rec.id)
		}
	}
	d.rest()
	d.checkLost(byID)
	d.model.records, d.model.byID = present, byID
	clear(d.model.dead)
	d.check()
}

// checkLost makes sure that all is there that was, but for what died when the queue was opened: with it came back what had not been settled durably, and so
// the limits may have cost others than the model says.
func (d *driver) checkLost(present map[uint64]*modelRecord) {
	if d.buried {
		d.morgue.mu.Lock()
		defer d.morgue.mu.Unlock()
		defer clear(d.morgue.buried)
	}
	for _, rec := range d.model.records {
		died := d.model.rules.Overflow == queue.DropHead && d.model.limited() || rec.expires != 0 && rec.expires <= d.model.now
		if d.buried {
			_, died = d.morgue.buried[rec.id]
		}
		if present[rec.id] == nil && !died {
			d.t.Fatalf("record %d was lost", rec.id)
		}
	}
}

// drain lets a consumer hold everything, and gives it back; it returns what there is, by number.
func (d *driver) drain() (all []*modelRecord) {
	tray := &inTray{}
	c, err := d.q.Consume(queue.ConsumerConfig{Credit: queue.Unlimited, Deliver: tray.put})
	if err != nil {
		d.t.Fatalf("consume: %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); d.stats().Ready > 0; {
		if time.Now().After(deadline) {
			d.t.Fatalf("%d records are not delivered", d.stats().Ready)
		}
	}
	for _, del := range tray.take() {
		rec := d.decode(del.Record)
		rec.handle, rec.attempts = del.Handle, 1
		all = append(all, rec)
	}
	c.Close()
	slices.SortFunc(all, func(a, b *modelRecord) int { return cmp.Compare(a.handle.Seq, b.handle.Seq) })
	return all
}

func (d *driver) forgetConsumers() {
	d.model.consumers, d.model.sole = nil, nil
	d.model.comeBack(nil)
	for _, rec := range d.model.records {
		rec.unsure = true
	}
}
