package queue

// OpenEntry, DecodeRecords, DecodePart and DecodeJournal take entries apart, for the fuzz targets and the examples in docs/queue-log.md.
var (
	OpenEntry     = openEntry
	DecodeRecords = decodeRecords
	DecodePart    = func(body []byte) error { _, err := decodePart(body); return err }
	DecodeJournal = func(body []byte) error { _, err := decodeJournal(body); return err }
)

// Sizes that tests depend on.
const (
	ChunkBytes   = chunkBytes
	PartBytes    = partBytes
	JournalBytes = journalBytes
	JournalDelay = journalDelay
	RetryDelay   = retryDelay
	MaxIDs       = maxIDs
	MaxGone      = maxGone
)

// Internals are the sizes of what a queue keeps beside its records.
type Internals struct{ Owners, Leases, Refs, Gone, Tombs, Chunks, Graves, Spare, Shifts, Heaped, Weight, IDs, IDGroups int }

// Internals returns them.
func (q *Queue) Internals() (x Internals) {
	_ = q.ask(func() {
		x = Internals{
			len(q.owners), len(q.lease.heap) + len(q.lease.until), len(q.journal.refs), len(q.trimmer.gone), len(q.trimmer.tombs),
			len(q.content.live()), len(q.grave.waiting),
			cap(q.batch) + len(q.spare) + len(q.tickets) + len(q.writer.buffers), len(q.active), cap(q.returned), int(q.weight), len(q.ids.known), len(q.ids.groups),
		}
		for _, h := range q.levels {
			x.Heaped += cap(h)
		}
	})
	return x
}

// FillIDs leaves room for n IDs in the budget.
func (b *Budget) FillIDs(n int) { b.addIDs(maxBudgetIDs - n) }

// Waiting returns how many consumers wait for the limit.
func (l *Limit) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// Held returns how much of the limit is taken.
func (l *Limit) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// Spans is a set of runs of numbers.
type Spans = spans

// Add adds a run.
func (s *Spans) Add(from, to uint64) { s.add(from, to) }

// DropBelow removes what is below floor.
func (s *Spans) DropBelow(floor uint64) { s.dropBelow(floor) }

// Has tells whether seq is in.
func (s Spans) Has(seq uint64) bool { return s.has(seq) }

// Stall makes the queue's goroutine wait until resume is called, so that what comes meanwhile is one batch.
func (q *Queue) Stall() (resume func()) {
	stalled, free := make(chan struct{}), make(chan struct{})
	q.post(op{kind: opCall, call: func() { close(stalled); <-free }})
	<-stalled
	return func() { close(free) }
}

// EncodePart returns an entry with one part of a record.
func EncodePart(index, total uint64, data []byte) []byte {
	return encodePart(nil, part{index: index, total: total, data: data})
}

// Seal makes an entry of what is in front of the checksum.
func Seal(data []byte) []byte { return endEntry(append([]byte(nil), data...)) }
