package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"portico/core"
	"portico/core/queue"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestStatusOfErrors(t *testing.T) {
	secret := errors.New("secret of the house")
	for name, test := range map[string]struct {
		err    error
		code   codes.Code
		reason string
	}{
		"internal":           {core.Errorf(core.CodeInternal, "secret of the house"), codes.Internal, "internal"},
		"invalid":            {core.Errorf(core.CodeInvalid, "x"), codes.InvalidArgument, "invalid-argument"},
		"unauthenticated":    {core.Errorf(core.CodeUnauthenticated, "x"), codes.Unauthenticated, "unauthenticated"},
		"permission":         {core.Errorf(core.CodePermissionDenied, "x"), codes.PermissionDenied, "permission-denied"},
		"not found":          {core.Errorf(core.CodeNotFound, "x"), codes.NotFound, "not-found"},
		"locked":             {core.Errorf(core.CodeLocked, "x"), codes.FailedPrecondition, "resource-locked"},
		"precondition":       {core.Errorf(core.CodePreconditionFailed, "x"), codes.FailedPrecondition, "precondition-failed"},
		"too large":          {core.Errorf(core.CodeTooLarge, "x"), codes.ResourceExhausted, "too-large"},
		"no responders":      {core.Errorf(core.CodeNoResponders, "x"), codes.Unavailable, "no-responders"},
		"timeout":            {core.Errorf(core.CodeTimeout, "x"), codes.DeadlineExceeded, "timeout"},
		"exhausted":          {core.Errorf(core.CodeResourceExhausted, "x"), codes.ResourceExhausted, "resource-exhausted"},
		"unavailable":        {core.Errorf(core.CodeUnavailable, "x"), codes.Unavailable, "unavailable"},
		"slow consumer":      {core.Errorf(core.CodeSlowConsumer, "x"), codes.ResourceExhausted, "slow-consumer"},
		"unimplemented":      {core.Errorf(core.CodeUnimplemented, "x"), codes.Unimplemented, "unimplemented"},
		"a code of tomorrow": {core.Errorf(core.Code(200), "x"), codes.Internal, "internal"},
		"wrapped":            {fmt.Errorf("open: %w", core.Errorf(core.CodeNotFound, "x")), codes.NotFound, "not-found"},
		"uncoded":            {secret, codes.Internal, "internal"},
		"deadline":           {context.DeadlineExceeded, codes.DeadlineExceeded, "timeout"},
		"queue deleted":      {queue.ErrDeleted, codes.NotFound, "not-found"},
		"queue closed":       {queue.ErrClosed, codes.Unavailable, "unavailable"},
		"queue fenced":       {queue.ErrFenced, codes.Unavailable, "unavailable"},
		"queue full":         {queue.ErrFull, codes.ResourceExhausted, "resource-exhausted"},
		"queue in use":       {queue.ErrInUse, codes.FailedPrecondition, "resource-locked"},
		"stale":              {queue.ErrStale, codes.FailedPrecondition, "precondition-failed"},
		"corrupt":            {queue.ErrCorrupt, codes.Internal, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			s := toStatus(test.err)
			if s.Code() != test.code || reasonOf(s) != test.reason {
				t.Errorf("status %v, reason %q", s.Code(), reasonOf(s))
			}
			f := toFailure(test.err)
			if codes.Code(f.GetCode()) != test.code || f.GetReason() != test.reason {
				t.Errorf("failure %v", f)
			}
			if strings.Contains(s.Message()+f.GetDetail(), "secret") {
				t.Errorf("it tells what is inside: %q, %q", s.Message(), f.GetDetail())
			}
		})
	}
	if s := toStatus(status.Error(codes.Canceled, "by the client")); s.Code() != codes.Canceled {
		t.Errorf("gRPC's own status became %v", s.Code())
	}
}

func reasonOf(s *status.Status) string {
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			return info.GetReason()
		}
	}
	return ""
}

func TestEveryCodeHasAStatus(t *testing.T) {
	for c := core.CodeInternal; c <= core.CodeUnimplemented; c++ {
		if got := statusCode(c); got == codes.OK || c != core.CodeInternal && got == codes.Internal {
			t.Errorf("%v is %v", c, got)
		}
	}
}

func TestPanicsTellNothing(t *testing.T) {
	var logged strings.Builder
	a := &Adapter{log: slog.New(slog.NewTextHandler(&logged, nil))}
	err := a.edge(t.Context(), "/grpc.health.v1.Health/Check", func(context.Context) error { panic("secret of the house") })
	s, _ := status.FromError(err)
	if s.Code() != codes.Internal || reasonOf(s) != "internal" || strings.Contains(s.Message(), "secret") {
		t.Errorf("the client sees %v", err)
	}
	if got := logged.String(); !strings.Contains(got, "secret of the house") || !strings.Contains(got, "edge_test.go") {
		t.Errorf("the log says %q", got)
	}
}

func TestParseAuthorization(t *testing.T) {
	for name, test := range map[string]struct {
		value string
		want  core.Credentials
		fails bool
	}{
		"none":                  {"", core.Credentials{Anonymous: true}, false},
		"basic":                 {"Basic Z3Vlc3Q6Z3Vlc3Q=", core.Credentials{User: "guest", Password: "guest"}, false},
		"case of the scheme":    {"bAsIc Z3Vlc3Q6Z3Vlc3Q=", core.Credentials{User: "guest", Password: "guest"}, false},
		"colon in the password": {"Basic YTpiOmM=", core.Credentials{User: "a", Password: "b:c"}, false},
		"empty password":        {"Basic YTo=", core.Credentials{User: "a"}, false},
		"token":                 {"bearer ptk_x", core.Credentials{Token: "ptk_x"}, false},
		"empty token":           {"Bearer ", core.Credentials{}, true},
		"another scheme":        {"Digest Z3Vlc3Q6Z3Vlc3Q=", core.Credentials{}, true},
		"no scheme":             {"Z3Vlc3Q6Z3Vlc3Q=", core.Credentials{}, true},
		"not base64":            {"Basic %%%", core.Credentials{}, true},
		"no colon":              {"Basic Z3Vlc3Q=", core.Credentials{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseAuthorization(test.value)
			if (err != nil) != test.fails || !reflect.DeepEqual(got, test.want) {
				t.Errorf("%+v, %v", got, err)
			}
			if err != nil && core.AsError(err).Code != core.CodeUnauthenticated {
				t.Errorf("code %v", core.AsError(err).Code)
			}
		})
	}
}

func TestConvertThereAndBack(t *testing.T) {
	m := &core.Message{
		Subject: "a.b", Reply: "c",
		Header: core.Header{"X-Case": {"one", "two"}, "x-empty": {""}},
		Data:   []byte{0, 0xff, '\n'},
	}
	back, err := fromProto(toProto(m))
	if err != nil || !reflect.DeepEqual(back, m) {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestConvertTextThatIsNotUTF8(t *testing.T) {
	values := []string{"good", "bad\xff", "good"}
	p := toProto(&core.Message{Subject: "s\xff", Header: core.Header{"n\xff": values}})
	if p.GetSubject() != "s\uFFFD" || values[1] != "bad\xff" {
		t.Errorf("subject %q, the message's own values are now %q", p.GetSubject(), values)
	}
	for name, header := range p.GetHeaders() {
		for _, s := range append(header.GetValues(), name) {
			if !utf8.ValidString(s) {
				t.Errorf("%q left the door", s)
			}
		}
	}
	if _, err := fromProto(nil); core.AsError(err).Code != core.CodeInvalid {
		t.Errorf("no message: %v", err)
	}
}
