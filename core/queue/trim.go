package queue

// maxGone bounds the spans that a journal entry names; the lowest are left out, which have been trimmed for long.
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
}

// entomb gives up the entries of a written chunk that is settled whole. It is called before the chunk leaves the list.
func (q *Queue) entomb(k *chunk) {
	for seq := k.first; seq <= k.last; seq++ {
		q.trimmer.gone = append(q.trimmer.gone, seq)
	}
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

// above is what the journal says of chunks that are gone and above the floor.
func (t *trimmer) above(floor uint64) spans {
	t.tombs.dropBelow(floor)
	return t.tombs[max(0, len(t.tombs)-maxGone):]
}

// trim removes from the log what nothing needs any more.
func (q *Queue) trim() {
	t := &q.trimmer
	floor := q.floor()
	t.tombs.dropBelow(floor)
	var also []uint64
	for _, seq := range t.gone {
		if seq >= floor {
			also = append(also, seq)
		}
	}
	t.gone = t.gone[:0]
	if floor > t.trimmed || len(also) > 0 {
		t.trimmed = floor
		q.log.Trim(floor, also)
	}
}
