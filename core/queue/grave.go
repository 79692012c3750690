package queue

import "time"

// graveWidth is how many dead letters may be under way at once; the others wait in the queue they died in.
const graveWidth = 256

// grave is what is dead and not yet kept elsewhere. Owned by run.
type grave struct {
	waiting  []dying
	count    int // records in the grave, under way or waiting
	underWay int
	retryAt  time.Time
}

type dying struct {
	seq    uint64
	reason Reason
}

// die ends a record that was delivered too often.
func (q *Queue) die(k *chunk, i int) {
	if q.cfg.DeadLetter == nil {
		q.counts[EventDead]++
		q.erase(k, i)
		return
	}
	q.bequeath(k, i, DeliveryLimit)
}

// perish ends the ready record that peek has found.
func (q *Queue) perish(seq uint64, k *chunk, why Reason) {
	i := int(seq - k.base)
	q.passed(seq, k)
	q.stateOf(k)
	if q.cfg.DeadLetter == nil {
		q.counts[EventDead]++
		q.erase(k, i)
		return
	}
	q.noLongerReady(k, i)
	q.inter(k, i, why)
}

// bequeath sends a held record to the dead letters; it is settled here when it is kept there.
func (q *Queue) bequeath(k *chunk, i int, why Reason) {
	q.unhold(k, i)
	q.inter(k, i, why)
}

func (q *Queue) inter(k *chunk, i int, why Reason) {
	k.records[i].owner = ownerGrave
	q.held++
	q.grave.count++
	q.grave.waiting = append(q.grave.waiting, dying{k.base + uint64(i), why})
	q.digGraves()
}

// inGrave finds a dead record, unless it has gone: its append was refused, or the log has lost it.
func (q *Queue) inGrave(seq uint64) (*chunk, int) {
	k := q.content.find(seq)
	if k == nil || k.done() || k.records[seq-k.base].owner != ownerGrave {
		return nil, 0
	}
	return k, int(seq - k.base)
}

func (q *Queue) digGraves() {
	g := &q.grave
	for len(g.waiting) > 0 && g.underWay < graveWidth && g.retryAt.IsZero() && q.end == nil {
		d := g.waiting[0]
		k, i := q.inGrave(d.seq)
		if k != nil && k.records[i].data == nil {
			q.load(k) // and looks again
			return
		}
		g.waiting = g.waiting[1:]
		if k == nil {
			continue
		}
		if q.cfg.DeadLetter == nil { // since the rules changed
			q.counts[EventDead]++
			q.erase(k, i)
			continue
		}
		g.underWay++
		r := &k.records[i]
		dead := Dead{Record: r.data, Reason: d.reason, Seq: d.seq, Count: r.attempts, Priority: k.attributes(i).priority}
		q.cfg.DeadLetter(dead, func(err error) {
			q.post(op{kind: opKept, call: func() { q.buried(d, err) }})
		})
	}
}

func (q *Queue) buried(d dying, err error) {
	q.grave.underWay--
	if q.deleted() {
		return
	}
	if err != nil {
		q.grave.waiting = append(q.grave.waiting, d)
		q.retryGraveAt(q.now().Add(retryDelay))
		return
	}
	if k, i := q.inGrave(d.seq); k != nil {
		q.counts[EventDead]++
		q.erase(k, i)
	}
	q.digGraves()
}

func (q *Queue) retryGraveAt(t time.Time) {
	q.grave.retryAt = t
	q.at(t)
}

func (q *Queue) retryGrave(now time.Time) {
	if q.grave.retryAt.IsZero() {
		return
	}
	if q.grave.retryAt.After(now) {
		q.at(q.grave.retryAt)
		return
	}
	q.grave.retryAt = time.Time{}
	q.digGraves()
}
