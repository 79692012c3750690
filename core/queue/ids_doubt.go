package queue

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// A record that was refused may be in the log all the same, behind it others that were not. Its entry is as good as gone then, but unlike that of a settled record its ID was not kept: who finds it must
// not take the record for one that has been there. Trimming may fail without a word, so journal entries name such entries as long as their IDs could count:
//
//	8  n, then n × (gap, length-1): runs of entries; then as journal
const kindDoubts = kindJournal + kindIDs

// maxDoubts bounds the runs. Above, the oldest two become one, with what lies between them: those IDs are forgotten by a restart, so that a record may be kept twice, but none is lost.
const maxDoubts = 256

// doubted is a run of entries that were refused.
type doubted struct {
	span
	until time.Time // by then the time of their IDs is over
}

// doubt notes a run behind all others.
func (q *Queue) doubt(s span) {
	d := append(q.ids.doubts, doubted{s, q.now().Add(q.cfg.Remember + idTick)})
	if len(d) > maxDoubts {
		d[1].from = d[0].from
		d = slices.Delete(d, 0, 1)
	}
	q.ids.doubts = d
}

// doubts returns the runs that a journal entry has to name.
func (q *Queue) doubts() spans {
	now, needed := q.now(), q.needed()
	q.ids.doubts = slices.DeleteFunc(q.ids.doubts, func(d doubted) bool { return d.to < needed && !now.Before(d.until) })
	if len(q.ids.doubts) == 0 {
		q.ids.doubts = nil
		return nil
	}
	runs := make(spans, len(q.ids.doubts))
	for i, d := range q.ids.doubts {
		runs[i] = d.span
	}
	return runs
}

// beginDoubts starts a journal entry, with doubts if there are any; as after beginJournal, bitmaps and endEntry follow.
func beginDoubts(dst []byte, doubts spans, j journal) []byte {
	if len(doubts) == 0 {
		return beginJournal(dst, j)
	}
	dst = binary.AppendUvarint(beginEntry(dst, kindDoubts), uint64(len(doubts)))
	at := uint64(0)
	for _, s := range doubts {
		dst = binary.AppendUvarint(dst, s.from-at)
		dst = binary.AppendUvarint(dst, s.to-s.from)
		at = s.to
	}
	return append(dst, beginJournal(nil, j)[entryHead:]...)
}

// openDoubts takes the doubts off a journal entry's body.
func openDoubts(body []byte) (doubts spans, rest []byte, err error) {
	r := reader{rest: body}
	at := uint64(0)
	for range r.count(2) {
		s := span{from: at + r.uvarint()}
		s.to = s.from + r.uvarint()
		if s.from <= at || s.to < s.from {
			r.bad = true
		}
		doubts, at = append(doubts, s), s.to
	}
	if r.bad || len(doubts) == 0 || len(doubts) > maxDoubts {
		return nil, nil, fmt.Errorf("%w: doubts", ErrCorrupt)
	}
	return doubts, r.rest, nil
}

// recoverDoubts forgets the IDs of what had been refused, and goes on naming it.
func (r *recovery) recoverDoubts() {
	q := r.q
	if len(r.doubts) == 0 {
		return
	}
	for _, s := range r.doubts {
		q.doubt(s)
	}
	for _, k := range q.content.list {
		if k.ids != nil && r.doubts.has(k.first) {
			q.forgetIDs(k.ids)
			k.ids = nil
		}
	}
	q.ids.groups = slices.DeleteFunc(q.ids.groups, func(g *idGroup) bool { return g.over })
}
