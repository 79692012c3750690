package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrStale says that a delivery is not held any more: it was settled before, its lease ran out, or its connection was lost. Unless it was settled it is delivered again; when the connection was lost while it was being
// settled, nobody here knows which.
var ErrStale = errors.New("the delivery is not held any more")

// Error is what the gateway refused, or why a call could not be made.
type Error struct {
	Code   codes.Code
	Reason string // the slug that every door of Portico uses ("not-found", "no-responders", …); empty when the error is not the gateway's own
	Detail string // for people
	Field  string // of the request that is wrong, if one is
	cause  error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%s: %s", e.Code, e.Detail)
	}
	return e.Reason + ": " + e.Detail
}

// Unwrap is the error it was made of; may be nil.
func (e *Error) Unwrap() error { return e.cause }

// Is says that what the gateway calls a failed precondition of a settlement is ErrStale.
func (e *Error) Is(target error) bool { return target == ErrStale && e.cause == ErrStale }

// Reason is the slug of an error of this package; empty if it has none.
func Reason(err error) string {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// GapError says which messages of a stream are missing: they were removed before they could be given. What follows can still be read.
type GapError struct{ From, To uint64 } // sequence numbers, both missing

// Error implements error.
func (g *GapError) Error() string {
	return fmt.Sprintf("the messages %d to %d are not there any more", g.From, g.To)
}

// wrap makes an *Error of a call's status. Errors of contexts stay what they are.
func wrap(ctx context.Context, err error) error {
	switch s, ok := status.FromError(err); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !ok:
		return err
	default:
		e := &Error{Code: s.Code(), Detail: s.Message(), cause: err}
		for _, detail := range s.Details() {
			switch d := detail.(type) {
			case *errdetails.ErrorInfo:
				e.Reason = d.GetReason()
			case *errdetails.BadRequest:
				if all := d.GetFieldViolations(); len(all) > 0 {
					e.Field = all[0].GetField()
				}
			}
		}
		return e
	}
}

// failure makes an *Error of what a stream tells about one message; nil for none.
func failure(f *porticov1.Failure) error {
	if f == nil {
		return nil
	}
	return &Error{Code: codes.Code(f.GetCode()), Reason: f.GetReason(), Detail: f.GetDetail(), Field: f.GetField()}
}

// passing tells whether a stream that ended so may be opened again.
func passing(err error) bool {
	if errors.Is(err, io.EOF) { // the gateway ended it in peace, which it does not do with streams that last
		return true
	}
	reason := Reason(wrap(context.Background(), err))
	switch status.Code(err) {
	case codes.Unavailable, codes.Aborted, codes.Canceled:
		return reason != "no-responders"
	case codes.Internal: // of the connection, not of the gateway
		return reason == ""
	}
	return false
}
