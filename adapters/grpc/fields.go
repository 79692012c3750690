package grpcapi

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"portico/core"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// refusal is an error with the field of the request that it is about.
type refusal struct {
	err   error
	field string
}

// Error implements error.
func (r *refusal) Error() string { return r.field + ": " + r.err.Error() }

// Unwrap returns the error itself.
func (r *refusal) Unwrap() error { return r.err }

// badField says that a field is not as it has to be: CodeInvalid.
func badField(field, format string, args ...any) error {
	return &refusal{core.Errorf(core.CodeInvalid, "%s: %s", field, fmt.Sprintf(format, args...)), field}
}

// inField names the field that an error is about, if it is one of the client's making and no field is named yet.
func inField(err error, field string) error {
	if err == nil || fieldOf(err) != "" || isStatus(err) {
		return err
	}
	switch core.AsError(err).Code {
	case core.CodeInvalid, core.CodeNotFound, core.CodePermissionDenied, core.CodeLocked, core.CodePreconditionFailed, core.CodeTooLarge:
		return &refusal{err, field}
	}
	return err
}

// fieldOf is the field that an error names, "" if none.
func fieldOf(err error) string {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.field
	}
	return ""
}

// retryAfter is when to try again what the gateway could not do just now; 0: trying again is no help.
func retryAfter(code core.Code) time.Duration {
	switch code {
	case core.CodeResourceExhausted, core.CodeUnavailable:
		return time.Second
	}
	return 0
}

// detailsOf are the details of a status: ErrorInfo always, BadRequest where a field is named, RetryInfo where trying again may help.
func detailsOf(err error) []protoadapt.MessageV1 {
	e := core.AsError(err)
	info := &errdetails.ErrorInfo{Reason: e.Code.String(), Domain: errorDomain}
	if conflict, ok := errors.AsType[*core.Conflict](err); ok {
		info.Metadata = map[string]string{"revision": strconv.FormatUint(conflict.Revision, 10)}
	}
	details := []protoadapt.MessageV1{info}
	if field := fieldOf(err); field != "" {
		violation := &errdetails.BadRequest_FieldViolation{Field: text(field), Description: detailOf(e), Reason: violationReason(e.Code)}
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{violation}})
	}
	if after := retryAfter(e.Code); after > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	return details
}

// violationReason is a code as google.rpc wants reasons: upper case, with underscores.
func violationReason(code core.Code) string {
	slug := []byte(code.String())
	for i, c := range slug {
		switch {
		case c == '-':
			slug[i] = '_'
		case 'a' <= c && c <= 'z':
			slug[i] = c - 'a' + 'A'
		}
	}
	return string(slug)
}
