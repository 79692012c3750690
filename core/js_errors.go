package core

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// apiError gives an error of the JetStream API its code. What the server says of a bad request is meant for whoever made it; what it says of its own troubles is for the log.
func apiError(e *jetstream.APIError) *Error {
	code, detail := CodeUnavailable, "the streams cannot do that now"
	switch e.ErrorCode {
	case 10014, 10037, 10043, 10059, 10149: // consumer, message, sequence, stream, consumer to update
		code, detail = CodeNotFound, e.Description
	case 10013, 10058, 10065, 10105, 10148, 10060, 10070, 10071, 10164, 10180: // there with other properties; something else was expected
		code, detail = CodePreconditionFailed, e.Description
	case 10054, 10097: // message, header
		code, detail = CodeTooLarge, e.Description
	case 10002, 10023, 10026, 10027, 10028, 10047, 10122, 10167, 10210, 10211: // limits of the account, memory, disk
		code, detail = CodeResourceExhausted, e.Description
	case 10052, 10074: // a stream's configuration, replicas
		code, detail = CodeInvalid, e.Description
	default:
		if e.Code >= 400 && e.Code < 500 {
			code, detail = CodeInvalid, e.Description
		}
	}
	return &Error{Code: code, Detail: detail, Err: e}
}

// isAPIError tells whether err is one of these answers of the API.
func isAPIError(err error, codes ...jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return false
	}
	for _, code := range codes {
		if api.ErrorCode == code {
			return true
		}
	}
	return false
}

// named says what was not found; other errors stay as they are.
func named(err error, kind, name string) error {
	if err == nil || AsError(err).Code != CodeNotFound {
		return err
	}
	return &Error{Code: CodeNotFound, Detail: "there is no " + kind + " " + quote(name), Err: err}
}

// codeOf is the code of an error that is not nil.
func codeOf(err error) Code { return AsError(err).Code }

// apiCause finds the answer of the API in an error of the client library, nil if there is none.
func apiCause(err error) *jetstream.APIError {
	if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return &jetstream.APIError{Code: 404, ErrorCode: 10059, Description: "stream not found"}
	}
	api, _ := errors.AsType[*jetstream.APIError](err)
	return api
}

// atLimit tells a stream that is full, and drops nothing, from one that cannot write: JetStream has one number for both.
func atLimit(e *jetstream.APIError) bool { return strings.Contains(e.Description, "maximum") }
