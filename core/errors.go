package core

import (
	"context"
	"errors"
	"fmt"

	"portico/core/queue"
)

// Code says what kind of failure an Error is. Each adapter has one table from Code to the codes of its own protocol.
type Code uint8

// The codes. Their slugs (String) are part of the public interface: every door tells them to its clients.
const (
	CodeInternal           Code = iota // a fault of ours; no detail leaves the gateway
	CodeInvalid                        // the request cannot be understood or names something illegal
	CodeUnauthenticated                // who are you?
	CodePermissionDenied               // known, and not allowed
	CodeNotFound                       // queue, table, token: there is none
	CodeLocked                         // exists, but belongs to one connection alone
	CodePreconditionFailed             // exists with other properties, stale token, revision conflict
	CodeTooLarge                       // above a size limit
	CodeNoResponders                   // nobody takes this message
	CodeTimeout                        // the deadline passed first
	CodeResourceExhausted              // disk, memory or a quota is full
	CodeUnavailable                    // draining, or the store does not answer; try again
	CodeSlowConsumer                   // the client did not read what it asked for
	CodeUnimplemented                  // a feature that is not there
)

var slugs = [...]string{
	CodeInternal: "internal", CodeInvalid: "invalid-argument", CodeUnauthenticated: "unauthenticated",
	CodePermissionDenied: "permission-denied", CodeNotFound: "not-found", CodeLocked: "resource-locked",
	CodePreconditionFailed: "precondition-failed", CodeTooLarge: "too-large", CodeNoResponders: "no-responders",
	CodeTimeout: "timeout", CodeResourceExhausted: "resource-exhausted", CodeUnavailable: "unavailable",
	CodeSlowConsumer: "slow-consumer", CodeUnimplemented: "unimplemented",
}

// String returns the code's slug, such as "not-found".
func (c Code) String() string {
	if int(c) < len(slugs) {
		return slugs[c]
	}
	return "internal"
}

// Error is the only kind of error that a door shows to a client: Code and Detail are meant for it, Err is for the log.
type Error struct {
	Code   Code
	Detail string
	Err    error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Detail, e.Err)
	}
	return e.Code.String() + ": " + e.Detail
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error with a formatted detail.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// AsError finds the Error in err's chain. The engine's errors and those of contexts get their code; anything else becomes CodeInternal with a detail
// that says nothing, so that no uncoded error leaves the gateway.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	for _, known := range []struct {
		err    error
		code   Code
		detail string
	}{
		{context.DeadlineExceeded, CodeTimeout, "the deadline passed"},
		{context.Canceled, CodeUnavailable, "cancelled"},
		{queue.ErrStale, CodePreconditionFailed, "the delivery is no longer held"},
		{queue.ErrDeleted, CodeNotFound, "the queue was deleted"},
		{queue.ErrInUse, CodeLocked, "the queue is consumed exclusively, or has consumers already"},
		{queue.ErrNotEmpty, CodePreconditionFailed, "the queue is not empty"},
		{queue.ErrOverflow, CodeResourceExhausted, "the queue has reached its limit"},
		{queue.ErrStream, CodeUnimplemented, "a stream is read by consumers that acknowledge, without leases; nothing can be taken from it"},
		{queue.ErrFull, CodeResourceExhausted, "the memory for queues is full"},
		{queue.ErrClosed, CodeUnavailable, "the queue is not available now"},
		{queue.ErrFenced, CodeUnavailable, "the queue is not available now"},
	} {
		if errors.Is(err, known.err) {
			return &Error{Code: known.code, Detail: known.detail, Err: err}
		}
	}
	return &Error{Code: CodeInternal, Detail: "internal error", Err: err}
}
