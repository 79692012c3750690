package webhook

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

const (
	maxRecent = 4096            // deliveries with an outcome that recovery remembers
	unsettled = 2 * time.Second // before a crash outcomes were logged that the queue has perhaps not learnt of; it does so within a tenth of a second
)

// known is what the log says of a delivery whose message is in the queue.
type known struct {
	id       string
	hash     hash
	attempts []Attempt
	told     time.Time // when the log was told of its message
	behind   int64     // bytes of log that follow that entry
	ended    time.Time // when it had an outcome
}

// memory is what the log says of the messages that are in the queue when the endpoint begins to consume it. Records are told apart by their hashes; those with the same are interchangeable.
type memory struct {
	open   map[hash][]*known // taken in, without an outcome; in the order in which they were taken in
	ended  map[hash][]string // ids of the last ones with an outcome: the queue may not have learnt of it
	expect int               // messages that were in the queue: what comes behind them is new
}

// recall reads the log. expect is how many messages are in the queue; without any there is nothing to know.
func (j *journal) recall(ctx context.Context, expect int) (*memory, error) {
	m := &memory{open: map[hash][]*known{}, ended: map[hash][]string{}, expect: expect}
	if expect == 0 {
		return m, nil
	}
	l := lore{byID: map[string]*known{}}
	err := j.scan(ctx, 0, func(e found) error {
		l.learn(e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, k := range slices.SortedFunc(maps.Values(l.byID), func(a, b *known) int { return cmp.Compare(a.behind, b.behind) }) {
		k.behind = l.total - k.behind
		m.open[k.hash] = append(m.open[k.hash], k)
	}
	for i := range l.recent {
		k := l.recent[(l.ends+i)%len(l.recent)] // the oldest first
		if l.last.Sub(k.ended) < unsettled {
			m.ended[k.hash] = append(m.ended[k.hash], k.id)
		}
	}
	return m, nil
}

// lore is what recall gathers.
type lore struct {
	byID   map[string]*known // without an outcome; behind is counted from the log's begin
	recent []*known          // with one: a ring
	ends   int               // how many have been put into it
	total  int64             // bytes of log
	last   time.Time         // of the newest entry
}

// learn takes an entry in.
func (l *lore) learn(e found) {
	l.total += int64(e.size)
	l.last = e.Time
	switch k := l.byID[e.ID]; {
	case e.Closed: // all that went before is settled
		l.recent, l.ends = nil, 0
	case e.message():
		l.byID[e.ID] = &known{id: e.ID, hash: e.hash(), attempts: e.Attempts, behind: l.total, told: e.Time}
	case k == nil: // its message is no longer in the log
	case e.Attempt.Result == Succeeded || e.Attempt.Result == Failed:
		delete(l.byID, e.ID)
		k.ended = e.Time
		l.end(k)
	default:
		k.attempts = append(k.attempts, e.Attempt.brief())
	}
}

func (l *lore) end(k *known) {
	if len(l.recent) < maxRecent {
		l.recent = append(l.recent, k)
		return
	}
	l.recent[l.ends%maxRecent] = k
	l.ends++
}

// take returns what is known of the next message, whose hash is h. One without an outcome comes first. One whose outcome the queue may not have learnt of is sent once more, under
// the id it had, so that the receiver can tell. Neither: it is new.
func (m *memory) take(h hash) (k *known, again string) {
	if m.expect == 0 {
		return nil, ""
	}
	if m.expect--; m.expect == 0 {
		defer func() { m.open, m.ended = nil, nil }()
	}
	if all := m.open[h]; len(all) > 0 {
		m.open[h] = all[1:]
		return all[0], ""
	}
	if all := m.ended[h]; len(all) > 0 {
		m.ended[h] = all[:len(all)-1]
		return nil, all[len(all)-1]
	}
	return nil, ""
}

// held is until when the receiver wanted to be left alone.
func (k *known) held() (until time.Time) {
	for _, a := range k.attempts {
		if a.Hold.After(until) {
			until = a.Hold
		}
	}
	return until
}
