package core

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// offlineLink is a link without a server; what it would send gathers in out.
func offlineLink(deliver func(linkMessage)) *link {
	return &link{log: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1), subs: map[uint64]*linkSub{7: {id: 7, deliver: deliver}}}
}

func TestLinkReads(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want string // subject|reply|header|data, or "error", or "nothing"
	}{
		"message":              {"MSG a.b 7 5\r\nhello\r\n", "a.b|||hello"},
		"with reply":           {"MSG a.b 7 r.s 5\r\nhello\r\n", "a.b|r.s||hello"},
		"empty":                {"MSG a 7 0\r\n\r\n", "a|||"},
		"with header":          {"HMSG a 7 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", "a||NATS/1.0\r\n\r\n|hi"},
		"with header, reply":   {"HMSG a 7 r 12 12\r\nNATS/1.0\r\n\r\n\r\n", "a|r|NATS/1.0\r\n\r\n|"},
		"of an ended sub":      {"MSG a 8 2\r\nhi\r\n", "nothing"},
		"line ends in data":    {"MSG a 7 6\r\n\r\nPUB\n\r\n", "a|||\r\nPUB\n"},
		"ok":                   {"+OK\r\n", "nothing"},
		"info":                 {"INFO {}\r\n", "nothing"},
		"error line":           {"-ERR 'x'\r\n", "nothing"},
		"too few fields":       {"MSG a 7\r\n", "error"},
		"too many fields":      {"MSG a 7 b c 1\r\nx\r\n", "error"},
		"size is no number":    {"MSG a 7 x\r\n", "error"},
		"negative size":        {"MSG a 7 -1\r\n", "error"},
		"too large":            {"MSG a 7 999999999999\r\n", "error"},
		"header beyond total":  {"HMSG a 7 20 10\r\n", "error"},
		"cut short":            {"MSG a 7 5\r\nhe", "error"},
		"line without end":     {strings.Repeat("x", linkLine+1), "error"},
		"endless number":       {"MSG a 7 99999999999999999999999999\r\n", "error"},
		"id that is no number": {"MSG a seven 1\r\nx\r\n", "error"},
	} {
		t.Run(name, func(t *testing.T) {
			got := "nothing"
			l := offlineLink(func(m linkMessage) { got = fmt.Sprintf("%s|%s|%s|%s", m.subject, m.reply, m.header, m.data) })
			if err := l.readOne(bufio.NewReaderSize(strings.NewReader(c.in), linkLine)); err != nil {
				got = "error"
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestLinkAnswersPing(t *testing.T) {
	l := offlineLink(nil)
	if err := l.readOne(bufio.NewReader(strings.NewReader("PING\r\n"))); err != nil || string(l.out) != "PONG\r\n" {
		t.Errorf("sent %q, %v", l.out, err)
	}
}

func TestLinkDropsAnswersWhenTheBusIsFarBehind(t *testing.T) {
	l := offlineLink(nil)
	l.out = make([]byte, linkBacklog)
	if err := l.publish("a", "", nil, nil, false); err != errLinkLost {
		t.Errorf("published: %v", err)
	}
}

// FuzzLinkRead feeds the reader anything: it must not panic, nor take more memory than a message may have.
func FuzzLinkRead(f *testing.F) {
	for _, seed := range []string{"MSG a 7 2\r\nhi\r\n", "HMSG a 7 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", "PING\r\n", "-ERR 'x'\r\n", "MSG a 7 99999999\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		l := offlineLink(func(m linkMessage) { m.open() })
		r := bufio.NewReaderSize(bytes.NewReader(in), linkLine)
		for range 100 {
			if l.readOne(r) != nil {
				return
			}
		}
	})
}

// FuzzBusHeader checks that whatever header block comes, what is made of it is one we could send on.
func FuzzBusHeader(f *testing.F) {
	for _, seed := range []string{"", "NATS/1.0\r\n\r\n", "NATS/1.0 503 No Responders\r\n\r\n", "NATS/1.0\r\na: b\r\na:c\r\n\r\n", "NATS/1.0\r\n:x\r\nno colon\r\n", "x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, _ := parseBusHeader(in)
		if _, err := checkHeader(h); err != nil && AsError(err).Code != CodeTooLarge {
			t.Fatalf("%q: %v", h, err)
		}
		again, status := parseBusHeader(appendBusHeader(nil, h))
		if status != "" || fmt.Sprint(again) != fmt.Sprint(h) {
			t.Fatalf("%q became %q", h, again)
		}
	})
}
