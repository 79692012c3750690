package queue

// maxGone bounds the spans that a journal entry names; the lowest are left out, which have been trimmed for long. Those that are still in the log for their IDs come on
// top: of these there are maxIDs at most.
const maxGone = 1 << 15

// trimmer knows what the log need not keep. Owned by run.
//
// Trimming may fail without a word. So a chunk that is settled whole is also noted in tombs, which every journal entry holds, and a journal entry
// is trimmed only when a newer one has been written.
type trimmer struct {
	gone    []uint64 // entries that are no longer needed
	tombs   spans    // above the floor: no chunk therein has an unsettled record
	trimmed uint64   // what was last trimmed below
	written uint64   // the newest entry of the log
	untold  bool     // there are tombs that no journal entry holds
	owed    bool     // and of those some that trimming does not make good: their entries stay, for their IDs
	doubt   bool     // records with IDs were refused and may yet be in the log, behind written
}

// entomb gives up the entries of a written chunk that is settled whole. It is called before the chunk leaves the list.
func (q *Queue) entomb(k *chunk) {
	q.letGo(k)
	if k.journal != 0 {
		q.journal.released = append(q.journal.released, k.journal)
		k.journal = 0
	}
	live, from, to := q.content.live(), uint64(0), k.last
	i := q.content.search(k.base)
	if i > 0 {
		if before := live[i-1]; before.done() || !before.written() {
			from = k.first
			if before.written() {
				from = before.first // touches the tomb that it has already
			}
		} else {
			from = before.last + 1
		}
	}
	if i < len(live) && live[i] == k {
		i++
	}
	if i < len(live) && live[i].written() && !live[i].done() {
		to = live[i].first - 1
	}
	q.trimmer.tombs.add(from, to)
	q.trimmer.untold = true
	q.journalSoon()
}

// letGo gives up the entries of a chunk whose records are settled, at once or when nobody needs its IDs any more.
func (q *Queue) letGo(k *chunk) {
	if k.ids.holds() {
		k.ids.settled, q.trimmer.owed = true, true
		return
	}
	q.trimmer.drop(k.first, k.last)
}

// drop gives up entries.
func (t *trimmer) drop(first, last uint64) {
	for seq := first; seq <= last; seq++ {
		t.gone = append(t.gone, seq)
	}
}

// passDoubt notes that what was refused, and may have been written in front of a chunk that is, is settled: whoever published it does so again, with the
// same ID. Its entries go, and until they have its IDs are doubted.
func (q *Queue) passDoubt(first uint64) {
	t := &q.trimmer
	if t.doubt && q.stream == nil && first > t.written+1 {
		t.tombs.add(t.written+1, first-1)
		t.drop(t.written+1, first-1)
		q.doubt(span{t.written + 1, first - 1})
		t.untold, t.owed = true, true
		q.journalSoon()
	}
	t.doubt = false
}

// floor is the lowest log entry that may still be needed: what is below is settled.
func (q *Queue) floor() uint64 {
	if live := q.content.live(); len(live) > 0 && live[0].written() {
		return live[0].first
	}
	if q.stream != nil {
		return q.trimmer.written // the newest entry stays: the next record's number follows from it
	}
	return q.trimmer.written + 1 // what is on its way gets a higher number
}

// needed is the lowest log entry that has to stay.
func (q *Queue) needed() uint64 { return min(q.floor(), q.ids.oldest()) }

// above is what the journal says of chunks that are gone and above the floor; held is the oldest entry that may be in the log although it is gone.
func (t *trimmer) above(floor, held uint64) spans {
	t.tombs.dropBelow(floor)
	n := max(0, len(t.tombs)-maxGone)
	for n > 0 && t.tombs[n-1].to >= held {
		n--
	}
	return t.tombs[n:]
}

// trim removes from the log what nothing needs any more.
func (q *Queue) trim() {
	t := &q.trimmer
	needed := q.needed()
	t.tombs.dropBelow(q.floor())
	var also []uint64
	for _, seq := range t.gone {
		if seq >= needed {
			also = append(also, seq)
		}
	}
	t.gone = t.gone[:0]
	if needed > t.trimmed || len(also) > 0 {
		t.trimmed = needed
		q.log.Trim(needed, also)
	}
}
