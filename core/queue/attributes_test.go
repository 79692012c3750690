package queue_test

import (
	"errors"
	"testing"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// TestAttributes: entries whose attributes make sense are read, others are not.
func TestAttributes(t *testing.T) {
	tests := map[string]struct {
		body    []byte
		corrupt bool
	}{
		"none":                      {[]byte{1, 9, 'a'}, false},
		"a settled record":          {[]byte{2, 0, 9, 'a'}, false},
		"an expiry":                 {[]byte{1, 11, 5, 'a'}, false},
		"a priority":                {[]byte{1, 13, 255, 1, 'a'}, false},
		"both, of an empty record":  {[]byte{1, 7, 5, 9}, false},
		"the latest expiry":         {[]byte{1, 11, 255, 255, 255, 255, 255, 255, 255, 255, 127, 'a'}, false},
		"an expiry that is missing": {[]byte{1, 3}, true},
		"later than the latest":     {[]byte{1, 11, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 'a'}, true},
		"a priority of 256":         {[]byte{1, 13, 128, 2, 'a'}, true},
		"of a settled record":       {[]byte{1, 4, 9}, true},
		"a length of nothing":       {[]byte{1, 8, 'a'}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := queue.DecodeRecords(test.body)
			if errors.Is(err, queue.ErrCorrupt) != test.corrupt {
				t.Errorf("records: %v", err)
			}
			if len(test.body) < 2 || test.body[0] != 1 {
				return
			}
			// The same attributes in a part.
			part := append([]byte{0, 1, test.body[1] & 7}, test.body[2:]...)
			if err := queue.DecodePart(part); errors.Is(err, queue.ErrCorrupt) != test.corrupt {
				t.Errorf("part: %v", err)
			}
		})
	}
	if err := queue.DecodePart([]byte{0, 1, 9, 'a'}); !errors.Is(err, queue.ErrCorrupt) {
		t.Errorf("a part with a flag that there is not: %v", err)
	}
}

// attributeExamples checks the example of a record with attributes in docs/queue-log.md.
func (r *rig) attributeExamples(examples map[string]string) {
	r.Helper()
	x := &rig{T: r.T, cfg: queue.Config{MaxPriority: 9}, disk: &queuetest.Disk{}}
	x.open()
	x.kept(queue.Record{Data: []byte("x"), TTL: queue.AtMost(1000), Priority: 5})
	r.example(examples, "attributes", x.disk.Entries()[0].Data)
}
