package jslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"portico/core/queue"
)

// Headers of an append.
const (
	expectedLast = "Nats-Expected-Last-Sequence"
	expectedID   = "Nats-Expected-Last-Msg-Id"
	entryID      = "Nats-Msg-Id"
)

// Error codes of the JetStream API.
const (
	errAccountResources = 10002
	errResources        = 10023
	errStorageResources = 10047
	errNoMessage        = 10043
	errNoStream         = 10059
	errWrongLastID      = 10070
	errWrongLast        = 10071
	errStoreFailed      = 10077
	errWrongLastUnsaid  = 10164
)

// apiError is the error in an answer of JetStream.
type apiError struct {
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

// Error says it in the server's words.
func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.Code) }

// Unwrap sorts the codes into our errors.
func (e *apiError) Unwrap() error {
	switch e.Code {
	case errWrongLast, errWrongLastUnsaid, errWrongLastID:
		return queue.ErrFenced
	case errAccountResources, errResources, errStorageResources:
		return ErrNoSpace
	case errStoreFailed:
		if strings.HasPrefix(e.Description, "maximum ") { // messages, bytes: limits somebody put on the stream
			return ErrNoSpace
		}
	}
	return nil
}

// parseAnswer reads the answer to an append: {"stream":"…","seq":N}, {"error":{…},…}, or a status without body.
func parseAnswer(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 {
		return 0, fmt.Errorf("%w: status %s", ErrUnavailable, m.Header.Get("Status"))
	}
	if rest, ok := bytes.CutPrefix(m.Data, []byte(`{"stream":"`)); ok {
		if _, rest, ok = bytes.Cut(rest, []byte(`,"seq":`)); ok {
			end := bytes.IndexAny(rest, ",} ")
			if seq, err := strconv.ParseUint(string(rest[:max(end, 0)]), 10, 64); err == nil && seq > 0 {
				return seq, nil
			}
		}
	}
	if err := parseError(m.Data); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("%w: strange answer %.200q", ErrUnavailable, m.Data)
}

// parseError returns the error in an answer of JetStream, or nil. Not knowing it, it takes what is not JSON for an error.
func parseError(data []byte) error {
	var answer struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if answer.Error == nil {
		return nil
	}
	return answer.Error
}

// refusedLast reads the last sequence number out of the refusal "wrong last sequence: N".
func refusedLast(data []byte) (uint64, bool) {
	var refusal *apiError
	if !errors.As(parseError(data), &refusal) || refusal.Code != errWrongLast {
		return 0, false
	}
	last, err := strconv.ParseUint(refusal.Description[strings.LastIndexByte(refusal.Description, ' ')+1:], 10, 64)
	return last, err == nil
}
