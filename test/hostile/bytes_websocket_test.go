package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func hostileWebSocket(t *testing.T, s *site) {
	unmasked := append([]byte{opText, 2}, "{}"...)
	for name, c := range map[string]struct {
		send []byte
		want int // close code
	}{
		"not masked":                 {unmasked, 1002},
		"frame of 2^63":              {append(frameStart(opText, 1<<63), 0, 0, 0, 0), 1002}, // RFC 6455 5.2: the highest bit is 0
		"frame of 2^62":              {append(frameStart(opText, 1<<62), 0, 0, 0, 0), 1009},
		"frame above the limit":      {append(frameStart(opText, 64<<20), 0, 0, 0, 0), 1009},
		"reserved bits":              {frame(opText|0x40, "{}"), 1002},
		"reserved opcode":            {frame(0x83, "{}"), 1002},
		"long ping":                  {frame(opPing, strings.Repeat("x", 126)), 1002},
		"fragmented ping":            {frame(opPing&0x0f, "x"), 1002},
		"continuation of nothing":    {frame(opMore, "x"), 1002},
		"text inside a text":         {append(frame(opText&0x0f, "{"), frame(opText, "{}")...), 1002},
		"binary":                     {frame(opBinary, "{}"), 1003},
		"not UTF-8":                  {frame(opText, "{\"op\":\"\xff\xfe\"}"), 1007},
		"half a character":           {append(frame(opText&0x0f, "\xe2"), frame(opMore, "\x82")...), 1007},
		"close with a reserved code": {frame(opClose, "\x03\xed"), 1002},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := dialWeb(s.web)
			must(t, err)
			defer w.Close()
			_, _ = w.Write(c.send)
			code, reason, err := w.closeCode()
			if err != nil || code != c.want {
				t.Errorf("closed with %d %q (%v), want %d", code, reason, err, c.want)
			}
		})
	}
	t.Run("JSON", func(t *testing.T) { hostileJSON(t, s) })
	t.Run("fragments", func(t *testing.T) { fragments(t, s) })
	t.Run("subscriptions", func(t *testing.T) { subscriptions(t, s) })
}

// hostileJSON: what is not a frame of the subprotocol is answered err, and the connection lives.
func hostileJSON(t *testing.T, s *site) {
	w, err := dialWeb(s.web)
	must(t, err)
	defer w.Close()
	for _, text := range []string{
		"", "null", "[]", "7", `"op"`, "{", `{"op":`, `{"op":"nonsense"}`, `{"op":7}`, `{"op":"pub"}`, `{"op":"pub","subject":""}`,
		`{"op":"pub","subject":"a","data":"x","data_base64":"eA=="}`, `{"op":"pub","subject":"a","data_base64":"???"}`, `{"op":"pub","subject":"a","unknown":1}`,
		`{"op":"pub","subject":"a..b"}`, `{"op":"pub","subject":"a.*"}`, `{"op":"pub","subject":"$SYS.x"}`, `{"op":"pub","subject":"a b"}`, "{\"op\":\"pub\",\"subject\":\"a\\r\\nPUB b 0\"}",
		`{"op":"pub","subject":"a","headers":{"a\r\nb":"c"}}`, `{"op":"pub","subject":"a","headers":{"a":"b\r\nc"}}`, `{"op":"pub","subject":"a","headers":{"a":null}}`,
		`{"op":"pub","subject":"a","headers":[]}`, `{"op":"pub","subject":"a"} {"op":"pub","subject":"a"}`, `{"op":"sub","sid":"s","subject":""}`, `{"op":"sub","subject":"a"}`,
		`{"op":"sub","sid":"s","subject":"a.>.b"}`, `{"op":"sub","sid":"s","subject":"$SYS.>"}`, `{"op":"consume","sid":"s","queue":"none"}`, `{"op":"consume","sid":"s","queue":"none","credit":-1}`,
		`{"op":"declare","queue":""}`, `{"op":"declare","queue":"` + strings.Repeat("q", 256) + `"}`, `{"op":"declare","queue":"a\u0000b"}`, `{"op":"ack","tag":18446744073709551615}`, `{"op":"ack","tag":-1}`,
		`{"op":"ack","tag":1e400}`, `{"op":"req","id":"x","subject":"a","timeout":"-1s"}`, `{"op":"req","id":"x","subject":"a","timeout":"99999h"}`, `{"op":"ping","id":"` + strings.Repeat("i", 65) + `"}`,
		strings.Repeat("[", 100_000), `{"op":` + strings.Repeat(`{"op":`, 20_000), `{"op":"pub","subject":"` + strings.Repeat("a.", 10_000) + `a"}`, `{"op":"auth","user":"x","password":"y"}`,
	} {
		w.send(opText, text)
		op, answer, err := w.read()
		if err != nil || op != opText || !strings.Contains(answer, `"op":"err"`) {
			t.Fatalf("%.80q was answered %x %q, %v, want err", text, op, answer, err)
		}
		if strings.Contains(answer, `"internal"`) {
			t.Errorf("%.80q was answered %s", text, answer)
		}
		if strings.Contains(text, `"auth"`) { // refused, and the end
			return
		}
	}
}

// fragments floods: 100,000 fragments without an octet, and as many with one, are one message.
func fragments(t *testing.T, s *site) {
	w, err := dialWeb(s.web)
	must(t, err)
	defer w.Close()
	var flood bytes.Buffer
	flood.Write(frame(opText&0x0f, ""))
	for range 100_000 {
		flood.Write(frame(0, ""))
	}
	for range 100_000 {
		flood.Write(frame(0, " "))
	}
	flood.Write(frame(opMore, `{"op":"ping","id":"1"}`))
	go w.Write(flood.Bytes())
	if op, answer, err := w.read(); err != nil || op != opText || !strings.Contains(answer, `"pong"`) {
		t.Errorf("answered %x %q, %v, want a pong", op, answer, err)
	}
	for range 1000 {
		w.send(opPing, "are you there?")
	}
	w.send(opText, `{"op":"ping","id":"2"}`)
	for {
		op, answer, err := w.read()
		if err != nil {
			t.Fatal(err)
		}
		if op == opText && strings.Contains(answer, `"pong"`) {
			return
		}
	}
}

// subscriptions asks for 100,000: 1,024 are there to be had, the others are refused one by one.
func subscriptions(t *testing.T, s *site) {
	const asked, allowed = 100_000, 1024
	w, err := dialWeb(s.web)
	must(t, err)
	defer w.Close()
	wrote := make(chan error, 1)
	go func() {
		var b bytes.Buffer
		for i := range asked {
			b.Write(frame(opText, fmt.Sprintf(`{"op":"sub","id":"%d","sid":"s%d","subject":"flood.%d"}`, i, i, i)))
		}
		_, err := io.Copy(w, &b)
		wrote <- err
	}()
	got, refused := 0, 0
	for got+refused < asked {
		op, answer, err := w.read()
		must(t, err)
		switch {
		case op != opText:
		case strings.Contains(answer, `"op":"ok"`):
			got++
		case strings.Contains(answer, `"resource-exhausted"`):
			refused++
		default:
			t.Fatal(answer)
		}
	}
	must(t, errors.Join(<-wrote))
	if got != allowed {
		t.Errorf("%d subscriptions were given, want %d", got, allowed)
	}
}
