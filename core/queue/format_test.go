package queue_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// TestDocumentedFormat: the examples in docs/queue-log.md are what a queue writes.
func TestDocumentedFormat(t *testing.T) {
	examples := documented(t)
	synthetic(t, queue.Config{Rules: queue.Rules{MaxDeliveries: 5}}, func(r *rig) {
		r.disk.Deafen(true)
		c := r.consume(queue.ConsumerConfig{Credit: 5})
		// "b" is settled before it leaves: the entry in front of it is under way.
		r.pending("first")
		for _, rec := range []string{"a", "b", "c"} {
			r.append(rec)
		}
		hs := c.wants("first", "a", "b", "c")
		r.q.Settle(queue.Ack, hs[2:3], nil)
		r.log.Hold(false)
		pass(0)
		r.chunk("d")
		hs = append(hs, c.wants("d")...)
		r.chunk("e")
		r.noError("settle", r.settle(queue.Ack, hs[0], hs[3], hs[4]).once())
		want := map[int]string{0: "first", 1: "records", 4: "journal"}
		entries := r.disk.Entries()
		if len(entries) != 5 {
			r.Fatalf("%d entries, want 5", len(entries))
		}
		for i, name := range want {
			r.example(examples, name, entries[i].Data)
		}
		r.example(examples, "part", queue.EncodePart(1, 3, []byte("slice")))
		r.attributeExamples(examples)
		r.streamExamples(examples)
		r.idExamples(examples)
		if len(examples) > 0 {
			r.Errorf("examples of nothing: %v", examples)
		}
		r.crash()
		c = r.all()
		c.wants("a*", "e")
		r.q.Settle(queue.Requeue, []queue.Handle{{Seq: 1, Attempt: 1}}, nil)
		pass(time.Second)
	})
}

// idExamples: entries with records that have IDs.
func (r *rig) idExamples(examples map[string]string) {
	for name, cfg := range map[string]queue.Config{"ids": {}, "stream ids": {Stream: true}} {
		disk := &queuetest.Disk{}
		q, err := queue.Open(cfg, disk.OpenInline())
		r.noError("open", err)
		resume := q.Stall()
		q.Append(queue.Record{Data: []byte("a")}, nil, 0)
		q.Append(queue.Record{Data: []byte("b"), ID: queue.ID([]byte("sixteen octets: "))}, nil, 0)
		resume()
		pass(0) // until it is written
		r.example(examples, name, disk.Entries()[0].Data)
		r.noError("close", q.Close())
	}
}

// example compares an entry with the documented one.
func (r *rig) example(examples map[string]string, name string, data []byte) {
	r.Helper()
	if got := hex.EncodeToString(data); got != examples[name] {
		r.Errorf("example %q is\n%s, want\n%s", name, examples[name], got)
	}
	delete(examples, name)
}

// documented returns the examples: what follows a line "example <name>" up to an empty line or a fence, hex digits before the first two spaces.
func documented(t *testing.T) map[string]string {
	text, err := os.ReadFile("../../docs/queue-log.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, name := map[string]string{}, ""
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "example "); ok {
			name = strings.TrimSpace(rest)
			continue
		}
		if line == "" || strings.HasPrefix(line, "```") {
			name = ""
		}
		if name != "" {
			digits, _, _ := strings.Cut(line, "  ")
			examples[name] += strings.ReplaceAll(digits, " ", "")
		}
	}
	return examples
}

// FuzzEntry: whatever is in an entry, it is read or refused, by a recovery as well as by a queue that reads it back.
func FuzzEntry(f *testing.F) {
	for _, data := range [][]byte{
		{}, {2, 1, 0, 0, 0, 0}, {2, 2, 0, 0, 0, 0}, {1, 1, 0, 0, 0, 0}, {2, 1, 1, 11, 5, 'a'}, {2, 1, 1, 15, 5, 9, 'a'},
		{2, 1, 3, 9, 'a', 1, 0}, {2, 2, 0, 1, 1, 'p'}, {2, 2, 1, 2}, {2, 2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		{2, 3, 1, 0, 0, 0, 1, 3, 2, 2, 1, 0, 1}, {2, 3, 5, 2, 1, 1, 1, 0}, {2, 3, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0},
		queue.EncodePart(0, 1, nil), queue.EncodePart(0, 2, []byte("x")),
		// Expires in 2100, has priority 9, both, neither; then an expiry and a priority that are too large, one that is missing, and attributes of nothing.
		{2, 1, 1, 11, 0x80, 0xb0, 0x8f, 0xe6, 0xb2, 0x77, 'a'}, {2, 1, 1, 13, 9, 'a'}, {2, 1, 2, 15, 0x80, 0xb0, 0x8f, 0xe6, 0xb2, 0x77, 9, 'a', 9, 'b'},
		{2, 1, 1, 11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 'a'}, {2, 1, 1, 13, 0x80, 2, 'a'}, {2, 1, 1, 13}, {2, 1, 1, 12, 9, 'a'}, {2, 1, 1, 5, 9},
		{2, 2, 0, 1, 7, 5, 9, 'p'}, {2, 2, 0, 1, 6, 5, 9, 'p'}, {2, 2, 0, 1, 15, 5, 9, 'p'},
		// With IDs: of the second of two records, of both, of a third that is not there, of none, in another order, none at all; of a part, and of a stream's.
		withIDs(6, []byte{2, 9, 'a', 9, 'b'}, 1), withIDs(6, []byte{2, 9, 'a', 9, 'b'}, 0, 1), withIDs(6, []byte{2, 9, 'a', 9, 'b'}, 2), withIDs(6, []byte{1, 9, 'a'}),
		withIDs(6, []byte{2, 9, 'a', 9, 'b'}, 1, 0), {2, 6, 0, 1, 0}, {2, 6, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0}, withIDs(7, []byte{0, 1, 1, 'p'}, 0), withIDs(7, []byte{0, 2, 1, 'p'}, 0),
		withIDs(9, []byte{1, 5, 1, 9, 'a'}, 0), withIDs(10, []byte{1, 5, 0, 1, 1, 'p'}, 0), withIDs(8, []byte{1, 0, 0, 0}, 0),
	} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, body, err := queue.OpenEntry(data); err == nil {
			decodeAll(t, body)
		} else if !errors.Is(err, queue.ErrCorrupt) {
			t.Fatal(err)
		}
		decodeAll(t, data)
		sealed := queue.Seal(data)
		recoverFrom(t, queue.Config{}, queue.Entry{Seq: 1, Data: sealed})
		recoverFrom(t, queue.Config{Resident: 1, Rules: queue.Rules{MaxDeliveries: 3}}, // between others, and after them once more: a journal for the records
			queue.Entry{Seq: 3, Data: queue.Seal([]byte{2, 1, 3, 9, 'a', 1, 0})}, queue.Entry{Seq: 4, Data: queue.EncodePart(0, 2, []byte("x"))},
			queue.Entry{Seq: 5, Data: sealed}, queue.Entry{Seq: 6, Data: queue.EncodePart(1, 2, []byte("y"))},
			queue.Entry{Seq: 8, Data: queue.Seal([]byte{2, 1, 1, 9, 'b'})}, queue.Entry{Seq: 9, Data: sealed})
		recoverFrom(t, queue.Config{MaxPriority: 4, Rules: queue.Rules{MaxLength: queue.AtMost(2), MaxBytes: queue.AtMost(3)}},
			queue.Entry{Seq: 1, Data: sealed}, queue.Entry{Seq: 2, Data: queue.Seal([]byte{2, 1, 2, 13, 9, 'a', 9, 'b'})}, queue.Entry{Seq: 3, Data: sealed})
		readBack(t, sealed)
		recoverStream(t, sealed)
	})
}

// withIDs is an entry, but for its checksum, whose records of these indices have IDs. They were written just now, and so are remembered.
func withIDs(kind byte, rest []byte, indices ...byte) []byte {
	data := binary.AppendUvarint([]byte{2, kind}, uint64(time.Now().UnixMilli()))
	data = append(data, byte(len(indices)))
	for _, i := range indices {
		data = append(append(data, i), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
	}
	return append(data, rest...)
}

// recoverStream opens a stream on an entry.
func recoverStream(t *testing.T, sealed []byte) {
	q, err := queue.Open(queue.Config{Stream: true}, queuetest.NewDisk(queue.Entry{Seq: 1, Data: sealed}).OpenInline())
	if err == nil {
		err = q.Close()
	}
	if err != nil && !errors.Is(err, queue.ErrCorrupt) {
		t.Fatal(err)
	}
}

func decodeAll(t *testing.T, body []byte) {
	_, err := queue.DecodeRecords(body)
	for _, err := range []error{err, queue.DecodePart(body), queue.DecodeJournal(body)} {
		if err != nil && !errors.Is(err, queue.ErrCorrupt) {
			t.Fatal(err)
		}
	}
}

// recoverFrom opens a queue on these entries, empties it and checks that its counts agree.
func recoverFrom(t *testing.T, cfg queue.Config, entries ...queue.Entry) {
	q, err := queue.Open(cfg, queuetest.NewDisk(entries...).OpenInline())
	if err != nil {
		if !errors.Is(err, queue.ErrCorrupt) {
			t.Fatal(err)
		}
		return
	}
	defer q.Close()
	empty(t, q)
}

// readBack swaps an entry that a queue has not in memory for another.
func readBack(t *testing.T, data []byte) {
	var entries []queue.Entry
	for i := range uint64(4) {
		entries = append(entries, queue.Entry{Seq: i + 1, Data: queue.Seal([]byte{2, 1, 1, 9, byte('a' + i)})})
	}
	disk := queuetest.NewDisk(entries...)
	q, err := queue.Open(queue.Config{Resident: 1}, disk.OpenInline())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	disk.Replace(2, data)
	empty(t, q)
}

func empty(t *testing.T, q *queue.Queue) {
	for {
		_, ok, err := q.Get(true, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
	}
	if s, err := q.Stats(); err != nil || s != (queue.Stats{}) {
		t.Fatalf("an empty queue has %+v, %v", s, err)
	}
}
