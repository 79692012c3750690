package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	door "portico/adapters/websocket"
	"portico/core"
	"portico/core/coretest"
)

// opened is a gateway's WebSocket door; its address is that of an HTTP server.
func opened(t *testing.T, cfg door.Config, options ...func(*core.Config)) (address string, a *door.Adapter) {
	t.Helper()
	g := coretest.Start(t, options...)
	a, err := door.New(cfg, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return server.URL + "/ws", a
}

const (
	ask  = `{"op":"ping","id":"1"}`
	sure = "\x03\xe8" // 1000
)

// bye is a close frame with a code.
func bye(code uint16, reason string) string {
	return made(fin|opClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

// unmasked is a frame as only a server may send it.
func unmasked(first byte, payload string) string {
	return string([]byte{first, byte(len(payload))}) + payload
}

// clauses are what a client may send and what comes back, by clause of RFC 6455. "pong" is the answer to ask, "pong(x)" a pong frame.
var clauses = map[string]map[string]struct{ send, want string }{
	"5.1 masking": {
		"masked":         {made(fin|opText, ask) + bye(1000, ""), "pong 1000"},
		"unmasked text":  {unmasked(fin|opText, ask), "1002"},
		"unmasked ping":  {unmasked(fin|opPing, ""), "1002"},
		"unmasked close": {unmasked(fin|opClose, sure), "1002"},
		"second frame":   {made(opText, ask[:3]) + unmasked(fin|opMore, ask[3:]), "1002"},
	},
	"5.2 reserved bits": {
		"1 on text":         {made(fin|rsv1|opText, ask), "1002"},
		"2 on text":         {made(fin|rsv2|opText, ask), "1002"},
		"3 on text":         {made(fin|rsv3|opText, ask), "1002"},
		"all on text":       {made(fin|rsv1|rsv2|rsv3|opText, ask), "1002"},
		"1 on binary":       {made(fin|rsv1|opBinary, ask), "1002"},
		"1 on continuation": {made(opText, ask[:3]) + made(fin|rsv1|opMore, ask[3:]), "1002"},
		"2 on continuation": {made(opText, ask[:3]) + made(fin|rsv2|opMore, ask[3:]), "1002"},
		"1 on ping":         {made(fin|rsv1|opPing, ""), "1002"},
		"3 on pong":         {made(fin|rsv3|opPong, ""), "1002"},
		"2 on close":        {made(fin|rsv2|opClose, sure), "1002"},
	},
	"5.2 opcodes": {
		"3": {made(fin|0x3, ""), "1002"}, "4": {made(fin|0x4, "x"), "1002"}, "5": {made(fin|0x5, ""), "1002"}, "6": {made(fin|0x6, ""), "1002"}, "7": {made(fin|0x7, ""), "1002"},
		"b": {made(fin|0xb, ""), "1002"}, "c": {made(fin|0xc, "x"), "1002"}, "d": {made(fin|0xd, ""), "1002"}, "e": {made(fin|0xe, ""), "1002"}, "f": {made(fin|0xf, ""), "1002"},
		"3 between fragments": {made(opText, ask[:3]) + made(fin|0x3, "") + made(fin|opMore, ask[3:]), "1002"},
	},
	"5.2 lengths": {
		"125":                   {made(fin|opText, padded(125)) + bye(1000, ""), "pong 1000"},
		"126":                   {made(fin|opText, padded(126)) + bye(1000, ""), "pong 1000"},
		"65535":                 {made(fin|opText, padded(65535)) + bye(1000, ""), "pong 1000"},
		"65536":                 {made(fin|opText, padded(65536)) + bye(1000, ""), "pong 1000"},
		"190000":                {made(fin|opText, padded(190000)) + bye(1000, ""), "pong 1000"},
		"16 bits for 125":       {"\x81\xfe\x00\x7d" + strings.Repeat("\x00", 4) + padded(125), "1002"},
		"16 bits for 0":         {"\x81\xfe\x00\x00\x00\x00\x00\x00", "1002"},
		"64 bits for 65535":     {"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00" + padded(65535), "1002"},
		"64 bits for 1":         {"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00x", "1002"},
		"the highest bit":       {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00x", "1002"},
		"all bits":              {"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00x", "1002"},
		"the highest but one":   {"\x81\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00x", "1009"},
		"highest, continuation": {made(opText, "") + "\x80\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00x", "1002"},
	},
	"5.4 fragmentation": {
		"two":                      {made(opText, ask[:5]) + made(fin|opMore, ask[5:]) + bye(1000, ""), "pong 1000"},
		"empty ones":               {made(opText, "") + made(opMore, "") + made(opMore, ask) + made(fin|opMore, "") + bye(1000, ""), "pong 1000"},
		"an octet each":            {octetwise(ask) + bye(1000, ""), "pong 1000"},
		"two messages":             {made(opText, ask[:5]) + made(fin|opMore, ask[5:]) + made(opText, ask[:9]) + made(fin|opMore, ask[9:]) + bye(1000, ""), "pong pong 1000"},
		"ping between":             {made(opText, ask[:5]) + made(fin|opPing, "mid") + made(fin|opMore, ask[5:]) + bye(1000, ""), "pong(mid) pong 1000"},
		"pong between":             {made(opText, ask[:5]) + made(fin|opPong, "mid") + made(fin|opMore, ask[5:]) + bye(1000, ""), "pong 1000"},
		"close between":            {made(opText, ask[:5]) + bye(1000, "") + made(fin|opMore, ask[5:]), "1000"},
		"continuation of nothing":  {made(fin|opMore, ask), "1002"},
		"open one of nothing":      {made(opMore, ask), "1002"},
		"continuation of an ended": {made(fin|opText, ask) + made(fin|opMore, ""), "pong 1002"},
		"text inside":              {made(opText, ask[:5]) + made(fin|opText, ask[5:]), "1002"},
		"binary inside":            {made(opText, ask[:5]) + made(fin|opBinary, ask[5:]), "1002"},
		"text begun inside":        {made(opText, ask[:5]) + made(opText, ask[5:]), "1002"},
	},
	"5.5 control frames": {
		"ping":                 {made(fin|opPing, "") + bye(1000, ""), "pong() 1000"},
		"ping of 125":          {made(fin|opPing, strings.Repeat("p", 125)) + bye(1000, ""), "pong(pppppppppp) 1000"},
		"ping of octets":       {made(fin|opPing, "\x00\xff\xfe") + bye(1000, ""), "pong(\x00\xff\xfe) 1000"},
		"ping of 126":          {made(fin|opPing, strings.Repeat("p", 126)), "1002"},
		"ping of 65536":        {made(fin|opPing, strings.Repeat("p", 65536)), "1002"},
		"ping in fragments":    {made(opPing, "a") + made(fin|opMore, "b"), "1002"},
		"pong in fragments":    {made(opPong, "a"), "1002"},
		"close in fragments":   {made(opClose, sure), "1002"},
		"pong of 126":          {made(fin|opPong, strings.Repeat("p", 126)), "1002"},
		"close of 126":         {bye(1000, strings.Repeat("r", 124)), "1002"},
		"pong that none asked": {made(fin|opPong, "") + made(fin|opPong, strings.Repeat("p", 125)) + made(fin|opText, ask) + bye(1000, ""), "pong 1000"},
	},
	"5.5.1 close": {
		"without a code":           {made(fin|opClose, ""), "none"},
		"half a code":              {made(fin|opClose, "\x03"), "1002"},
		"with a reason":            {bye(1000, "good night, ünïcode"), "1000"},
		"with the longest":         {bye(1000, strings.Repeat("r", 123)), "1000"},
		"reason not UTF-8":         {bye(1000, "\xff\xfe"), "1007"},
		"reason cut in a letter":   {bye(1000, "night \xe2\x82"), "1007"},
		"what follows is not read": {bye(1000, "") + made(fin|opText, ask) + made(fin|opPing, "late"), "1000"},
		"twice":                    {bye(1000, "") + bye(1001, ""), "1000"},
		"behind an answer":         {made(fin|opText, ask) + bye(4321, ""), "pong 4321"},
	},
	"5.6 data": {
		"empty text":   {made(fin|opText, "") + bye(1000, ""), "err 1000"},
		"binary":       {made(fin|opBinary, ask), "1003"},
		"empty binary": {made(fin|opBinary, ""), "1003"},
		"in fragments": {made(opBinary, ask[:5]) + made(fin|opMore, ask[5:]), "1003"},
	},
	"8.1 UTF-8": {
		"letters of 2, 3 and 4":    {made(fin|opText, "κόσμε €\U0001f600") + bye(1000, ""), "err 1000"},
		"cut between fragments":    {made(opText, "\xe2") + made(opMore, "\x82") + made(fin|opMore, "\xac") + bye(1000, ""), "err 1000"},
		"a stray octet":            {made(fin|opText, "a\x80b"), "1007"},
		"overlong":                 {made(fin|opText, "\xc0\xaf"), "1007"},
		"surrogate":                {made(fin|opText, "\xed\xa0\x80"), "1007"},
		"above 10FFFF":             {made(fin|opText, "\xf4\x90\x80\x80"), "1007"},
		"no such octet":            {made(fin|opText, "\xfe\xff"), "1007"},
		"ends within a letter":     {made(fin|opText, "a\xe2\x82"), "1007"},
		"ends so over fragments":   {made(opText, "\xe2") + made(fin|opMore, "\x82"), "1007"},
		"broken by a fragment":     {made(opText, "\xe2\x82") + made(fin|opMore, "a"), "1007"},
		"in a string":              {made(fin|opText, "{\"op\":\"\xc3\x28\"}"), "1007"},
		"in a large message":       {made(fin|opText, padded(100_000)+"\xff"), "1007"},
		"broken in the 2nd of two": {made(fin|opText, ask) + made(fin|opText, "\xff"), "pong 1007"},
	},
	"10.4 limits": {
		"a frame":                {string(begun(fin|opText, 1<<30)) + "mask", "1009"},
		"fragments":              {made(opText, padded(100_000)) + made(opMore, padded(100_000)) + made(fin|opMore, padded(100_000)), "1009"},
		"a fragment":             {made(opText, "") + string(begun(fin|opMore, 1<<30)) + "mask", "1009"},
		"just below":             {made(fin|opText, padded(limitFrame)) + bye(1000, ""), "pong 1000"},
		"just above":             {made(fin|opText, padded(limitFrame+1)), "1009"},
		"just below, in two":     {made(opText, padded(limitFrame-10)) + made(fin|opMore, strings.Repeat(" ", 10)) + bye(1000, ""), "pong 1000"},
		"just above, in two":     {made(opText, padded(limitFrame-10)) + made(fin|opMore, strings.Repeat(" ", 11)), "1009"},
		"as often as you please": {strings.Repeat(made(fin|opText, padded(limitFrame)), 5) + bye(1000, ""), "pong pong pong pong pong 1000"},
	},
}

const (
	limitMessage = 64 << 10
	limitFrame   = 2*limitMessage + 64<<10 // as the welcome says
)

// padded is ask with blanks, n octets in all.
func padded(n int) string { return ask + strings.Repeat(" ", n-len(ask)) }

// octetwise is a message with an octet in each fragment.
func octetwise(text string) string {
	var b strings.Builder
	b.WriteString(made(opText, ""))
	for i := range len(text) {
		b.WriteString(made(opMore, text[i:i+1]))
	}
	b.WriteString(made(fin|opMore, ""))
	return b.String()
}

func TestFraming(t *testing.T) {
	address, _ := opened(t, door.Config{MaxMessage: limitMessage})
	for clause, cases := range clauses {
		t.Run(clause, func(t *testing.T) {
			t.Parallel()
			for name, c := range cases {
				t.Run(name, func(t *testing.T) { check(t, address, c.send, c.want) })
			}
		})
	}
}

// TestCloseCodes: which may be sent [RFC 6455 7.4] are answered with the same, others are a breach.
func TestCloseCodes(t *testing.T) {
	address, _ := opened(t, door.Config{})
	for want, codes := range map[string][]uint16{
		"":     {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999},
		"1002": {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535},
	} {
		for _, code := range codes {
			told := want
			if told == "" {
				told = strings.TrimLeft(string([]byte{'0' + byte(code/1000), '0' + byte(code/100%10), '0' + byte(code/10%10), '0' + byte(code%10)}), "0")
			}
			t.Run(told+" for "+http.StatusText(int(code)), func(t *testing.T) { check(t, address, bye(code, ""), told) })
		}
	}
}

// TestServerEndsTheConnection: when both have sent close frames, or after a breach, the server does not wait for the client [RFC 6455 7.1.1].
func TestServerEndsTheConnection(t *testing.T) {
	address, _ := opened(t, door.Config{})
	for name, c := range map[string]struct{ send, want string }{"asked": {bye(1000, ""), "1000"}, "breach": {made(fin|0x3, ""), "1002"}} {
		t.Run(name, func(t *testing.T) {
			w, err := connect(address)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			w.waits = true
			if _, err := io.WriteString(w, c.send); err != nil {
				t.Fatal(err)
			}
			if got := w.story(); got != c.want {
				t.Errorf("came %q, want %q", got, c.want)
			}
		})
	}
}

// TestEveryCut: however the network cuts the octets, they mean the same.
func TestEveryCut(t *testing.T) {
	address, _ := opened(t, door.Config{})
	all := made(opText, ask[:5]) + made(fin|opPing, "mid") + made(fin|opMore, ask[5:]) + made(fin|opText, padded(300)) + made(fin|opClose, "\x03")
	for size := 1; size <= 8; size++ {
		w, err := connect(address)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Conn.(*net.TCPConn).SetNoDelay(true); err != nil {
			t.Fatal(err)
		}
		for rest := all; rest != ""; {
			n := min(size, len(rest))
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if got := w.story(); got != "pong(mid) pong pong 1002" {
			t.Errorf("in pieces of %d: %q", size, got)
		}
		w.Close()
	}
}

// deflated is text as a message's compressed content [RFC 7692 7.2.1].
func deflated(text string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(w, text)
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

const offer = "Sec-WebSocket-Extensions: permessage-deflate"

func TestCompression(t *testing.T) {
	address, _ := opened(t, door.Config{Compression: true, MaxMessage: limitMessage})
	bomb := deflated(strings.Repeat(" ", 1<<30)) // a thousandth of it
	whole, half := deflated(ask), len(deflated(ask))/2
	for name, c := range map[string]struct{ send, want string }{
		"a message":                {made(fin|rsv1|opText, whole) + bye(1000, ""), "pong 1000"},
		"one that is not":          {made(fin|opText, ask) + bye(1000, ""), "pong 1000"},
		"in fragments":             {made(rsv1|opText, whole[:half]) + made(fin|opMore, whole[half:]) + bye(1000, ""), "pong 1000"},
		"with a ping between":      {made(rsv1|opText, whole[:half]) + made(fin|opPing, "mid") + made(fin|opMore, whole[half:]) + bye(1000, ""), "pong(mid) pong 1000"},
		"bit on the 2nd fragment":  {made(rsv1|opText, whole[:half]) + made(fin|rsv1|opMore, whole[half:]), "1002"},
		"bit on a control frame":   {made(fin|rsv1|opPing, ""), "1002"},
		"not deflate":              {made(fin|rsv1|opText, "\xff\xff\xff\xff"), "1007"},
		"not UTF-8 inside":         {made(fin|rsv1|opText, deflated("\xff\xfe")), "1007"},
		"limit":                    {made(fin|rsv1|opText, deflated(padded(limitFrame))) + bye(1000, ""), "pong 1000"},
		"above the limit":          {made(fin|rsv1|opText, deflated(padded(limitFrame+1))), "1009"},
		"bomb":                     {made(fin|rsv1|opText, bomb[:limitFrame]), "1009"},
		"bomb in fragments":        {made(rsv1|opText, bomb[:1000]) + made(opMore, bomb[1000:2000]) + made(fin|opMore, bomb[2000:3000]), "1009"},
		"a bomb that is too large": {made(fin|rsv1|opText, bomb), "1009"},
	} {
		t.Run(name, func(t *testing.T) { check(t, address, c.send, c.want, offer) })
	}
	t.Run("not agreed", func(t *testing.T) { check(t, address, made(fin|rsv1|opText, whole), "1002") })
	t.Run("off by default", func(t *testing.T) {
		plain, _ := opened(t, door.Config{})
		check(t, plain, made(fin|rsv1|opText, whole), "1002", offer)
	})
	for name, more := range map[string]string{"a window that we do not have": "; server_max_window_bits=10", "unknown": "; fine=1"} {
		t.Run(name, func(t *testing.T) { check(t, address, made(fin|rsv1|opText, whole), "1002", offer+more) })
	}
	for name, more := range map[string]string{"any window of theirs": "; client_max_window_bits", "the second offer": "; server_max_window_bits=10, permessage-deflate"} {
		t.Run(name, func(t *testing.T) {
			check(t, address, made(fin|rsv1|opText, whole)+bye(1000, ""), "pong 1000", offer+more)
		})
	}
}

// TestCompressedAnswers: large messages come compressed, small ones do not.
func TestCompressedAnswers(t *testing.T) {
	address, _ := opened(t, door.Config{Compression: true})
	w, err := connect(address, offer)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	large := strings.Repeat("all work and no play ", 1000)
	for _, f := range []string{`{"op":"sub","sid":"s","subject":"a"}`, `{"op":"pub","subject":"a","data":"small"}`, `{"op":"pub","subject":"a","data":"` + large + `"}`, `{"op":"pub","subject":"a","data":"` + large + `"}`} {
		if _, err := io.WriteString(w, made(fin|opText, f)); err != nil {
			t.Fatal(err)
		}
	}
	for i, data := range []string{"small", large, large} {
		f, err := w.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.rsv1 != (i > 0) || i > 0 && len(f.text) > len(large)/10 {
			t.Errorf("message %d: compressed %v, %d octets", i, f.rsv1, len(f.text))
		}
		text := f.text
		if f.rsv1 {
			b, _ := io.ReadAll(flate.NewReader(strings.NewReader(f.text + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
			text = string(b)
		}
		if want := `"data":"` + data + `"}`; !strings.HasSuffix(text, want) {
			t.Errorf("message %d is %.80s…", i, text)
		}
	}
}

// TestHandshake: what is not an opening handshake [RFC 6455 4.2.1] is refused in HTTP.
func TestHandshake(t *testing.T) {
	address, _ := opened(t, door.Config{AllowedOrigins: []string{"https://app.example"}})
	for name, c := range map[string]struct {
		change map[string]string // header lines; empty: left out
		method string
		want   int
	}{
		"as it should be":         {nil, "GET", 101},
		"POST":                    {nil, "POST", 405},
		"no Upgrade":              {map[string]string{"Upgrade": ""}, "GET", 400},
		"another Upgrade":         {map[string]string{"Upgrade": "h2c"}, "GET", 400},
		"no Connection":           {map[string]string{"Connection": ""}, "GET", 400},
		"Connection among others": {map[string]string{"Connection": "keep-alive, UPGRADE"}, "GET", 101},
		"another case":            {map[string]string{"Upgrade": "WebSocket"}, "GET", 101},
		"no version":              {map[string]string{"Sec-WebSocket-Version": ""}, "GET", 426},
		"version 8":               {map[string]string{"Sec-WebSocket-Version": "8"}, "GET", 426},
		"no key":                  {map[string]string{"Sec-WebSocket-Key": ""}, "GET", 400},
		"key of 15 octets":        {map[string]string{"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAA"}, "GET", 400},
		"key of 17 octets":        {map[string]string{"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAAA="}, "GET", 400},
		"key that is no base64":   {map[string]string{"Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!=="}, "GET", 400},
		"foreign origin":          {map[string]string{"Origin": "https://evil.example"}, "GET", 403},
		"no origin at all":        {map[string]string{"Origin": "null"}, "GET", 403},
		"allowed origin":          {map[string]string{"Origin": "https://app.example"}, "GET", 101},
		"allowed host, no TLS":    {map[string]string{"Origin": "http://app.example"}, "GET", 403},
		"our subprotocol":         {map[string]string{"Sec-WebSocket-Protocol": "chat, portico.v1.json"}, "GET", 101},
		"none of ours":            {map[string]string{"Sec-WebSocket-Protocol": "chat"}, "GET", 400},
		"an unknown extension":    {map[string]string{"Sec-WebSocket-Extensions": "x-fine; a=1"}, "GET", 101},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), c.method, address, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, lines := range []map[string]string{
				{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}, c.change,
			} {
				for k, v := range lines {
					r.Header.Set(k, v)
					if v == "" {
						r.Header.Del(k)
					}
				}
			}
			res, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != c.want {
				t.Errorf("answered %s, want %d", res.Status, c.want)
			}
			if c.want == http.StatusUpgradeRequired && res.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("does not say which version: %v", res.Header)
			}
			if ext := res.Header.Get("Sec-WebSocket-Extensions"); ext != "" {
				t.Errorf("agreed on %s", ext)
			}
		})
	}
}
