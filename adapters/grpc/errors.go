package grpcapi

import (
	"fmt"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// statusCodes is the one table from core's codes to those of gRPC.
var statusCodes = [...]codes.Code{
	core.CodeInternal:           codes.Internal,
	core.CodeInvalid:            codes.InvalidArgument,
	core.CodeUnauthenticated:    codes.Unauthenticated,
	core.CodePermissionDenied:   codes.PermissionDenied,
	core.CodeNotFound:           codes.NotFound,
	core.CodeLocked:             codes.FailedPrecondition,
	core.CodePreconditionFailed: codes.FailedPrecondition,
	core.CodeTooLarge:           codes.ResourceExhausted,
	core.CodeNoResponders:       codes.Unavailable,
	core.CodeTimeout:            codes.DeadlineExceeded,
	core.CodeResourceExhausted:  codes.ResourceExhausted,
	core.CodeUnavailable:        codes.Unavailable,
	core.CodeSlowConsumer:       codes.ResourceExhausted,
	core.CodeUnimplemented:      codes.Unimplemented,
}

// errorDomain is the domain of every ErrorInfo of ours.
const errorDomain = "portico"

var errDraining = core.Errorf(core.CodeUnavailable, "the gateway is stopping")

func statusCode(c core.Code) codes.Code {
	if int(c) < len(statusCodes) {
		return statusCodes[c]
	}
	return codes.Internal
}

// toStatus is err as clients see it: what gRPC itself raised (the client went, a frame was too large) as it is, all
// else by the table with the slug, and what else there is to tell, beside it.
func toStatus(err error) *status.Status {
	if s, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return s.GRPCStatus()
	}
	e := core.AsError(err)
	s := status.New(statusCode(e.Code), detailOf(e))
	with, err := s.WithDetails(detailsOf(err)...)
	if err != nil {
		return s
	}
	return with
}

// toFailure is err as clients see it inside a stream.
func toFailure(err error) *porticov1.Failure {
	e := core.AsError(err)
	return &porticov1.Failure{Code: int32(statusCode(e.Code)), Reason: e.Code.String(), Detail: detailOf(e), Field: text(fieldOf(err))}
}

// detailOf says nothing of what is inside.
func detailOf(e *core.Error) string {
	if e.Code == core.CodeInternal {
		return "internal error"
	}
	return text(e.Detail)
}

func isInternal(err error) bool { return !isStatus(err) && core.AsError(err).Code == core.CodeInternal }

// isStatus tells whether gRPC itself raised an error.
func isStatus(err error) bool {
	_, ok := err.(interface{ GRPCStatus() *status.Status })
	return ok
}

// panicError is a panic with the place where it happened, for the log.
type panicError struct {
	value any
	stack []byte
}

// Error implements error.
func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }
