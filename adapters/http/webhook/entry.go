package webhook

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"portico/core"
)

// maxKept is the largest payload that the log keeps. Larger messages are delivered like any other, and are not there to be sent again when they have left the queue.
const (
	maxKept     = 64 << 10
	entryRoom   = 2 << 10 // what an entry may have beside the payload, where messages are small
	excerptPart = 8       // an excerpt has at most this part of the largest message: JSON makes up to six bytes of one
)

// keptOf is maxKept for a gateway whose messages have at most limit bytes, as entries are messages too.
func keptOf(limit int) int { return max(0, min(maxKept, limit-entryRoom)) }

// excerptOf is maxExcerpt likewise.
func excerptOf(limit int) int { return min(maxExcerpt, limit/excerptPart) }

// hash stands for a record of the queue.
type hash [16]byte

func hashOf(record []byte) (h hash) {
	sum := sha256.Sum256(record)
	copy(h[:], sum[:])
	return h
}

// entry is one entry of an endpoint's log. A message is told of when it is taken in (Subject and so on); then come its attempts, each in an entry of its own. What waits for long is told of
// anew, with its attempts, before the log's limit takes the old entry (Carried).
//
//	length   uvarint, of the JSON
//	JSON     the fields
//	payload  the rest
type entry struct {
	ID       string      `json:"id"`
	Time     time.Time   `json:"t"`
	Hash     []byte      `json:"h,omitempty"` // of the record; entries of messages
	Subject  string      `json:"s,omitempty"`
	Header   core.Header `json:"hd,omitempty"`
	Size     int         `json:"n,omitempty"` // of the payload
	Kept     bool        `json:"k,omitempty"` // the payload is in the entry
	Carried  bool        `json:"c,omitempty"`
	Attempts []Attempt   `json:"as,omitempty"` // of a message that is carried
	Attempt  *Attempt    `json:"a,omitempty"`  // entries of attempts
	Closed   bool        `json:"z,omitempty"`  // of neither: the queue knows all outcomes that are in the log before this
	stripped bool        // it is as bare as it can be
}

// message tells whether e tells of a message, not of an attempt.
func (e *entry) message() bool { return e.Attempt == nil && !e.Closed }

// hash is that of the message's record.
func (e *entry) hash() (h hash) {
	copy(h[:], e.Hash)
	return h
}

func (e *entry) encode(payload []byte) ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode log entry: %w", err)
	}
	out := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen32+len(text)+len(payload)), uint64(len(text)))
	return append(append(out, text...), payload...), nil
}

func decodeEntry(plain []byte) (*entry, []byte, error) {
	n, w := binary.Uvarint(plain)
	if w <= 0 || n > uint64(len(plain)-w) {
		return nil, nil, errSeal
	}
	var e entry
	if err := json.Unmarshal(plain[w:w+int(n)], &e); err != nil {
		return nil, nil, fmt.Errorf("decode log entry: %w", err)
	}
	return &e, plain[w+int(n):], nil
}

// bare is e without what it can do without: payload, headers, the receiver's words. false: there is nothing more to leave out.
func (e *entry) bare() (*entry, bool) {
	if e.stripped {
		return nil, false
	}
	b := *e
	b.stripped, b.Kept, b.Header, b.Subject = true, false, nil, clip(e.Subject, maxErrorText)
	if e.Attempt != nil {
		a := e.Attempt.brief()
		a.Error = ""
		b.Attempt = &a
	}
	return &b, true
}

// entryOf tells of a message, whose payload is kept if it has at most so many bytes.
func entryOf(id string, h hash, m *core.Message, now time.Time, kept int) (*entry, []byte) {
	e := &entry{ID: id, Time: now, Hash: h[:], Subject: m.Subject, Size: len(m.Data)}
	if len(m.Data) > kept {
		return e, nil
	}
	e.Kept = true
	e.Header = make(core.Header, len(m.Header))
	for name, values := range m.Header {
		e.Header[name] = values
	}
	e.Header.Del(headerID)
	return e, m.Data
}
