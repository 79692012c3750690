package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"portico/adapters/amqp/wire"
)

func TestReplyText(t *testing.T) {
	tests := map[string]struct {
		code uint16
		text string
		want string
	}{
		"not found": {wire.NotFound, "no queue 'q' in vhost '/'", "NOT_FOUND - no queue 'q' in vhost '/'"},
		"fits":      {wire.FrameError, strings.Repeat("x", 241), "FRAME_ERROR - " + strings.Repeat("x", 241)},
		"too long":  {wire.FrameError, strings.Repeat("x", 242), "FRAME_ERROR - " + strings.Repeat("x", 238) + "..."},
		"no half character": {
			wire.FrameError, strings.Repeat("x", 237) + strings.Repeat("é", 20),
			"FRAME_ERROR - " + strings.Repeat("x", 237) + "...",
		},
		"unknown code": {299, "odd", "CODE_299 - odd"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			conn, channel := wire.ConnErrorf(tt.code, "%s", tt.text), wire.ChanErrorf(tt.code, "%s", tt.text)
			for _, got := range []string{conn.ReplyText(), channel.ReplyText()} {
				if got != tt.want || len(got) > 255 || !utf8.ValidString(got) {
					t.Errorf("%d octets: %q\nwant %q", len(got), got, tt.want)
				}
			}
			if !strings.HasSuffix(conn.Error(), tt.text) || channel.Error() != conn.Error() {
				t.Errorf("errors %q and %q", conn.Error(), channel.Error())
			}
		})
	}
	junk := wire.ConnErrorf(wire.NotFound, "%s", strings.Repeat("\x80", 300)).ReplyText()
	if len(junk) > 255 {
		t.Errorf("%d octets", len(junk))
	}
}

func TestErrorsNameTheirMethod(t *testing.T) {
	base := wire.ChanErrorf(wire.NotFound, "no queue '%s'", "q")
	var ch *wire.ChanError
	if !errors.As(fmt.Errorf("declare: %w", base.At(wire.IDQueueDeclare)), &ch) || ch.ClassID != 50 || ch.MethodID != 10 {
		t.Errorf("channel error %+v", ch)
	}
	if base.ClassID != 0 {
		t.Error("At changed its receiver")
	}
	conn := wire.ConnErrorf(wire.NotAllowed, "no").At(wire.IDConnectionTuneOk)
	if conn.ClassID != 10 || conn.MethodID != 31 || conn.Code != 530 || conn.Text != "no" {
		t.Errorf("connection error %+v", conn)
	}
}

func TestReplyCodes(t *testing.T) {
	soft := []uint16{wire.ContentTooLarge, wire.NoRoute, wire.NoConsumers, wire.AccessRefused, wire.NotFound, wire.ResourceLocked, wire.PreconditionFailed}
	hard := []uint16{
		wire.ConnectionForced, wire.InvalidPath, wire.FrameError, wire.SyntaxError, wire.CommandInvalid, wire.ChannelError,
		wire.UnexpectedFrame, wire.ResourceError, wire.NotAllowed, wire.NotImplemented, wire.InternalError,
	}
	for _, code := range soft {
		if wire.HardError(code) || wire.ReplyName(code) == "" {
			t.Errorf("%d %q is hard or has no name", code, wire.ReplyName(code))
		}
	}
	for _, code := range hard {
		if !wire.HardError(code) || wire.ReplyName(code) == "" {
			t.Errorf("%d %q is soft or has no name", code, wire.ReplyName(code))
		}
	}
	for code, want := range map[uint16]string{200: "REPLY_SUCCESS", 404: "NOT_FOUND", 406: "PRECONDITION_FAILED", 541: "INTERNAL_ERROR", 1: ""} {
		if got := wire.ReplyName(code); got != want {
			t.Errorf("%d is %q, want %q", code, got, want)
		}
	}
}
