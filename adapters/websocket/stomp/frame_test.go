package stomp_test

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"portico/adapters/websocket/stomp"
	"portico/core"
)

// generous are limits that nothing here reaches but what is meant to.
func generous() stomp.Limits { return stomp.Limits{Body: 1 << 20} }

func TestFrames(t *testing.T) {
	big := strings.Repeat("b", 200_000)
	for name, c := range map[string]struct {
		in      string
		version stomp.Version
		want    stomp.Frame
	}{
		"no headers": {"DISCONNECT\n\n\x00", stomp.V12, stomp.Frame{Command: "DISCONNECT"}},
		"headers and body": {"SEND\ndestination:/queue/a\n\nhello\x00", stomp.V12,
			stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"destination", "/queue/a"}}, Body: []byte("hello")}},
		"carriage returns [1.2]": {"\r\nSEND\r\na:b\r\n\r\nhello\x00", stomp.V12,
			stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"a", "b"}}, Body: []byte("hello")}},
		"heart-beats before it": {"\n\n\r\n\nBEGIN\n\n\x00", stomp.V11, stomp.Frame{Command: "BEGIN"}},
		"counted body with NUL": {"SEND\ncontent-length:3\n\na\x00b\x00", stomp.V11,
			stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"content-length", "3"}}, Body: []byte("a\x00b")}},
		"empty counted body": {"SEND\ncontent-length:0\n\n\x00", stomp.V12,
			stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"content-length", "0"}}, Body: []byte{}}},
		"large body": {"SEND\n\n" + big + "\x00", stomp.V12, stomp.Frame{Command: "SEND", Body: []byte(big)}},
		"large counted body": {"SEND\ncontent-length:200000\n\n" + big + "\x00", stomp.V12,
			stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"content-length", "200000"}}, Body: []byte(big)}},
		"escapes [1.2]": {"SEND\na\\cb:x\\n\\r\\\\\\c\n\n\x00", stomp.V12,
			stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"a:b", "x\n\r\\:"}}}},
		"escapes [1.1]": {"SEND\na:x\\n\\\\\\c\n\n\x00", stomp.V11, stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"a", "x\n\\:"}}}},
		"none in 1.0, blanks go": {"SEND\na: x\\n:y \n\n\x00", stomp.V10,
			stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"a", `x\n:y`}}}},
		"blanks count [1.2]": {"SEND\na: x \n\n\x00", stomp.V12, stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"a", " x "}}}},
		"CONNECT is literal": {"CONNECT\naccept-version:1.2\npasscode: a\\c:b\n\n\x00", stomp.V10,
			stomp.Frame{Command: "CONNECT", Fields: []stomp.Field{{"accept-version", "1.2"}, {"passcode", ` a\c:b`}}}},
		"repeated header: first counts, all are there": {"SEND\na:1\na:2\n\n\x00", stomp.V12,
			stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"a", "1"}, {"a", "2"}}}},
		"empty value": {"SEND\na:\n\n\x00", stomp.V12, stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"a", ""}}}},
		"long line": {"SEND\na:" + strings.Repeat("x", 9000) + "\n\n\x00", stomp.V12,
			stomp.Frame{Command: "SEND", Fields: []stomp.Field{{"a", strings.Repeat("x", 9000)}}}},
	} {
		t.Run(name, func(t *testing.T) {
			for way, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "by bytes": iotest.OneByteReader(strings.NewReader(c.in))} {
				d := stomp.NewDecoder(r, generous())
				d.Speak(c.version)
				f, err := d.Next()
				if err != nil {
					t.Fatalf("%s: %v", way, err)
				}
				if !reflect.DeepEqual(*f, c.want) && (len(f.Body) > 0 || len(c.want.Body) > 0 || !reflect.DeepEqual(f.Fields, c.want.Fields) || f.Command != c.want.Command) {
					t.Errorf("%s: got %.300q, want %.300q", way, *f, c.want)
				}
				if _, err := d.Next(); err != io.EOF {
					t.Errorf("%s: behind it %v, want the end", way, err)
				}
			}
		})
	}
}

func TestFramesRefused(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		code core.Code
	}{
		"unknown command":         {"HELLO\n\n\x00", core.CodeInvalid},
		"HTTP":                    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", core.CodeInvalid},
		"command in small":        {"send\n\n\x00", core.CodeInvalid},
		"no colon":                {"SEND\nabc\n\n\x00", core.CodeInvalid},
		"no name":                 {"SEND\n:abc\n\n\x00", core.CodeInvalid},
		"NUL in the headers":      {"SEND\na:b\x00\n\n\x00", core.CodeInvalid},
		"not UTF-8":               {"SEND\na:\xff\n\n\x00", core.CodeInvalid},
		"unknown escape":          {"SEND\na:\\t\n\n\x00", core.CodeInvalid},
		"half an escape":          {"SEND\na:b\\\n\n\x00", core.CodeInvalid},
		"content-length is text":  {"SEND\ncontent-length:x\n\n\x00", core.CodeInvalid},
		"content-length below 0":  {"SEND\ncontent-length:-1\n\n\x00", core.CodeInvalid},
		"content-length too low":  {"SEND\ncontent-length:1\n\nabc\x00", core.CodeInvalid},
		"content-length too high": {"SEND\ncontent-length:1048577\n\n", core.CodeTooLarge},
		"a lie of a length":       {"SEND\ncontent-length:4611686018427387903\n\n", core.CodeTooLarge},
		"body too large":          {"SEND\n\n" + strings.Repeat("x", 1<<20+1), core.CodeTooLarge},
		"body where none may be":  {"BEGIN\ntransaction:a\n\nbody\x00", core.CodeInvalid},
		"too many headers":        {"SEND\n" + strings.Repeat("a:b\n", 129) + "\n\x00", core.CodeTooLarge},
		"headers too large":       {"SEND\n" + strings.Repeat("a:"+strings.Repeat("x", 9000)+"\n", 8) + "\n\x00", core.CodeTooLarge},
		"endless line":            {"SEND\na:" + strings.Repeat("x", 20_000), core.CodeTooLarge},
		"endless command":         {strings.Repeat("x", 20_000), core.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			d := stomp.NewDecoder(strings.NewReader(c.in), generous())
			d.Speak(stomp.V12)
			f, err := d.Next()
			if err == nil || core.AsError(err).Code != c.code {
				t.Errorf("got %.100v, %v, want %s", f, err, c.code)
			}
		})
	}
}

func TestFramesCutShort(t *testing.T) {
	whole := "SEND\ndestination:/queue/a\ncontent-length:5\n\nhello\x00"
	for n := 1; n < len(whole); n++ {
		d := stomp.NewDecoder(strings.NewReader(whole[:n]), generous())
		if f, err := d.Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("of %q: %v, %v, want an unexpected end", whole[:n], f, err)
		}
	}
}

// TestLargeBodiesAreReservedBeforeTheyAreRead: a length alone takes nothing, and what is reserved is given back.
func TestLargeBodiesAreReservedBeforeTheyAreRead(t *testing.T) {
	var reserved, most int64
	limits := stomp.Limits{
		Body:    1 << 20,
		Reserve: func(n int64) bool { reserved += n; most = max(most, reserved); return reserved <= 300<<10 },
		Release: func(n int64) { reserved -= n },
	}
	small := strings.NewReader("SEND\ncontent-length:1000000\n\n" + strings.Repeat("x", 1000))
	d := stomp.NewDecoder(small, limits)
	if _, err := d.Next(); err != io.ErrUnexpectedEOF || most != 0 {
		t.Errorf("%v with %d reserved, want none for what has not come", err, most)
	}
	d = stomp.NewDecoder(strings.NewReader("SEND\n\n"+strings.Repeat("x", 200_000)+"\x00\n"), limits)
	if _, err := d.Next(); err != nil || reserved < 200_000-64<<10 {
		t.Errorf("%v with %d reserved", err, reserved)
	}
	d.Done()
	if reserved != 0 {
		t.Errorf("%d were not given back", reserved)
	}
	d = stomp.NewDecoder(strings.NewReader("SEND\n\n"+strings.Repeat("x", 900_000)+"\x00"), limits)
	if _, err := d.Next(); err == nil || core.AsError(err).Code != core.CodeResourceExhausted {
		t.Errorf("%v, want resource-exhausted", err)
	}
}

// FuzzDecoder: whatever comes, decoding ends, keeps its limits, and what it makes of a frame is what it makes of that frame written again.
func FuzzDecoder(f *testing.F) {
	for _, seed := range []string{
		"CONNECT\naccept-version:1.2\n\n\x00", "SEND\na\\cb:\\n\\\\\ncontent-length:3\n\na\x00b\x00\n\nACK\nid:1\n\n\x00", "\r\n\r\nSEND\r\na:b\r\n\r\nx\x00", "MESSAGE\n\n\x00\x00",
	} {
		f.Add([]byte(seed), uint8(2))
	}
	f.Fuzz(func(t *testing.T, in []byte, version uint8) {
		v := stomp.Version(version % 3)
		d := stomp.NewDecoder(bytes.NewReader(in), stomp.Limits{Body: 1 << 10})
		d.Speak(v)
		for {
			x, err := d.Next()
			if err != nil {
				return
			}
			if len(x.Body) > 1<<10 || len(x.Fields) > 128 {
				t.Fatalf("past the limits: %d bytes, %d headers", len(x.Body), len(x.Fields))
			}
			again(t, v, x)
		}
	})
}

// again writes a frame and reads it back.
func again(t *testing.T, v stomp.Version, x *stomp.Frame) {
	t.Helper()
	if v != stomp.V12 || x.Command == "CONNECTED" || x.Command == "CONNECT" || x.Command == "STOMP" {
		return // what cannot be escaped does not come back
	}
	plain := &stomp.Frame{Command: x.Command, Body: x.Body}
	for _, field := range x.Fields {
		if field.Name != "content-length" && field.Name != "" {
			plain.Fields = append(plain.Fields, field)
		}
	}
	d := stomp.NewDecoder(bytes.NewReader(stomp.AppendFrame(nil, v, plain)), generous())
	d.Speak(v)
	y, err := d.Next()
	if err != nil {
		t.Fatalf("%q does not read back: %v", plain, err)
	}
	if y.Get("content-length") != "" {
		y.Fields = y.Fields[:len(y.Fields)-1]
	}
	if y.Command != plain.Command || !bytes.Equal(y.Body, plain.Body) || len(y.Fields) != len(plain.Fields) {
		t.Fatalf("%q came back as %q", plain, y)
	}
	for i := range y.Fields {
		if y.Fields[i] != plain.Fields[i] {
			t.Fatalf("%q came back as %q", plain.Fields[i], y.Fields[i])
		}
	}
}
