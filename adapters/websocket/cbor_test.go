package websocket_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"

	"portico/adapters/websocket"
	"portico/core"

	"github.com/fxamacker/cbor/v2"
	gorilla "github.com/gorilla/websocket"
)

// binary is a client of the binary subprotocol.
type binary struct {
	t    *testing.T
	ws   *gorilla.Conn
	mode cbor.DecMode
	back []frame
}

func (d *doorway) dialCBOR() *binary {
	d.t.Helper()
	c, _, err := d.tryDial([]string{websocket.ProtocolCBOR})
	if err != nil {
		d.t.Fatal(err)
	}
	if c.ws.Subprotocol() != websocket.ProtocolCBOR {
		d.t.Fatalf("speaks %q", c.ws.Subprotocol())
	}
	mode, err := cbor.DecOptions{DefaultMapType: reflect.TypeFor[map[string]any](), IntDec: cbor.IntDecConvertSigned, DupMapKey: cbor.DupMapKeyEnforcedAPF}.DecMode()
	if err != nil {
		d.t.Fatal(err)
	}
	b := &binary{t: d.t, ws: c.ws, mode: mode}
	if w := b.await("welcome", func(f frame) bool { return f.str("op") == "welcome" }); w.str("protocol") != websocket.ProtocolCBOR || w["limits"] == nil {
		d.t.Fatalf("welcome %v", w)
	}
	return b
}

func (b *binary) send(v any) {
	b.t.Helper()
	data, ok := v.([]byte)
	if !ok {
		var err error
		if data, err = cbor.Marshal(v); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.ws.WriteMessage(gorilla.BinaryMessage, data); err != nil {
		b.t.Fatal(err)
	}
}

func (b *binary) await(what string, wanted func(frame) bool) frame {
	b.t.Helper()
	for {
		for i, f := range b.back {
			if wanted(f) {
				b.back = append(b.back[:i:i], b.back[i+1:]...)
				return f
			}
		}
		if err := b.ws.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			b.t.Fatal(err)
		}
		kind, data, err := b.ws.ReadMessage()
		if err != nil || kind != gorilla.BinaryMessage {
			b.t.Fatalf("waiting for %s: kind %d, %v (had %v)", what, kind, err, b.back)
		}
		var f frame
		if data[0]>>5 == 4 {
			var list []frame
			if err := b.mode.Unmarshal(data, &list); err != nil {
				b.t.Fatal(err)
			}
			b.back = append(b.back, list...)
			continue
		}
		if err := b.mode.Unmarshal(data, &f); err != nil {
			b.t.Fatalf("%x: %v", data, err)
		}
		b.back = append(b.back, f)
	}
}

func (b *binary) do(f frame) frame {
	b.t.Helper()
	f["id"] = "ask"
	b.send(f)
	a := b.await("the answer", func(f frame) bool { return f.str("id") == "ask" && f.str("op") != "msg" && f.str("op") != "entry" })
	if a.str("op") == "err" {
		b.t.Fatalf("%v: %v", f, a)
	}
	return a
}

func (b *binary) next(op string) frame {
	b.t.Helper()
	return b.await(op, func(f frame) bool { return f.str("op") == op })
}

// TestBinary: the frames of every kind, as CBOR.
func TestBinary(t *testing.T) {
	d := open(t, websocket.Config{})
	d.bucket("cfg", 1)
	c, text := d.dialCBOR(), d.dial()
	c.do(frame{"op": "sub", "sid": "s", "subject": "b.>"})
	raw := []byte{0, 255, 'x'}
	if ok := c.do(frame{"op": "pub", "subject": "b.1", "data": raw, "headers": frame{"one": "1", "two": []string{"a", "b"}}}); ok["live"] != true || fmt.Sprint(ok["queues"]) != "0" {
		t.Errorf("pub: %v", ok)
	}
	if m := c.next("msg"); !reflect.DeepEqual(m, frame{"op": "msg", "sid": "s", "subject": "b.1", "data": raw, "headers": map[string]any{"one": "1", "two": []any{"a", "b"}}}) {
		t.Errorf("msg: %v", m)
	}
	text.do(frame{"op": "pub", "subject": "b.2", "data": "grün", "reply": "answers"})
	if m := c.next("msg"); string(m["data"].([]byte)) != "grün" || m.str("reply") != "answers" {
		t.Errorf("msg: %v", m)
	}

	d.stream(1)
	ok := c.do(frame{"op": "sub", "sid": "x", "stream": "S", "from": "all"})
	if ok.str("epoch") == "" || fmt.Sprint(ok["after"]) != "0" {
		t.Errorf("sub: %v", ok)
	}
	if m := c.await("s.a", func(f frame) bool { return f.str("sid") == "x" }); m.str("stream") != "S" || fmt.Sprint(m["seq"]) != "1" || string(m["data"].([]byte)) != "1" || m.str("time") == "" {
		t.Errorf("stored: %v", m)
	}

	c.do(frame{"op": "declare", "queue": "q", "dead_letter": frame{"queue": "dead"}})
	c.do(frame{"op": "append", "queue": "q", "data": []byte{}})
	c.do(frame{"op": "consume", "sid": "c", "queue": "q", "lease": "30s"})
	if m := c.next("delivery"); fmt.Sprint(m["tag"], m["attempt"], m["redelivered"], m["data"]) != "1 1 false []" {
		t.Errorf("delivery: %v", m)
	}
	c.do(frame{"op": "ack", "tags": []uint64{1}})

	rev := c.do(frame{"op": "kv_put", "bucket": "cfg", "key": "k", "data": raw})["revision"]
	if got := c.do(frame{"op": "kv_get", "bucket": "cfg", "key": "k"}); !reflect.DeepEqual(got["data"], raw) || got["revision"] != rev {
		t.Errorf("kv_get: %v", got)
	}
	c.do(frame{"op": "sub", "sid": "p", "subject": "room", "presence": true, "info": frame{"n": 1, "deep": []any{true, nil, -1, 1.5}}})
	present := c.do(frame{"op": "presence", "subject": "room"})
	m := frame(present["members"].([]any)[0].(map[string]any))
	if fmt.Sprint(m["info"]) != "map[deep:[true <nil> -1 1.5] n:1]" {
		t.Errorf("info: %v", m)
	}

	text.do(frame{"op": "serve", "sid": "v", "subject": "double"})
	c.send(frame{"op": "req", "id": "r", "subject": "double", "data": []byte("21")})
	request := text.next("msg")
	text.do(frame{"op": "reply", "reply": request.str("reply"), "data": "42", "headers": frame{"ok": "yes"}})
	if res := c.next("res"); string(res["data"].([]byte)) != "42" || res.str("id") != "r" || fmt.Sprint(res["headers"]) != "map[ok:yes]" {
		t.Errorf("res: %v", res)
	}

	c.do(frame{"op": "options", "batch": true})
	c.send([]frame{{"op": "ping", "id": "1"}, {"op": "ping", "id": "2"}, {"op": "nope", "id": "3"}})
	for _, id := range []string{"1", "2", "3"} {
		c.await(id, func(f frame) bool { return f.str("id") == id })
	}
}

func TestBinaryRefuses(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dialCBOR()
	deep := any("x")
	for range 20 {
		deep = []any{deep}
	}
	long := make([]uint64, 5000)
	for name, send := range map[string]any{
		"no CBOR":          []byte{0xff},
		"text":             []byte(`{"op":"ping"}`),
		"nothing":          []byte{},
		"no map":           "ping",
		"key twice":        []byte("\xa3\x62op\x64ping\x62id\x61a\x62id\x61b"),
		"indefinite":       []byte("\xbf\x62op\x64ping\xff"),
		"tagged":           []byte("\xa1\x62op\xc0\x64ping"),
		"something behind": []byte("\xa1\x62op\x64ping\x00"),
		"cut":              []byte("\xa2\x62op\x64ping"),
		"not UTF-8":        []byte("\xa1\x62op\x61\xff"),
		"a huge array":     []byte("\xa2\x62op\x63ack\x64tags\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"),
		"a number as key":  []byte("\xa1\x01\x64ping"),
		"nested":           frame{"op": "sub", "from": deep},
		"long":             frame{"op": "ack", "tags": long},
		"bytes":            frame{"op": "sub", "sid": []byte("x"), "subject": "a"},
		"text as data":     frame{"op": "pub", "subject": "a", "data": "text"},
		"data as number":   frame{"op": "pub", "subject": "a", "data": 1},
		"data_base64 too":  frame{"op": "pub", "subject": "a", "data": []byte("a"), "data_base64": "YQ=="},
		"unknown field":    frame{"op": "pub", "subject": "a", "nope": 1},
		"not a number":     []byte("\xa2\x62op\x64ping\x61n\xf9\x7e\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			c.send(send)
			if e := c.next("err"); e.str("code") != core.CodeInvalid.String() || e.str("detail") == "" {
				t.Errorf("%v", e)
			}
		})
	}
	c.t = t
	c.do(frame{"op": "ping"})
	c.send(frame{"op": "sub", "id": "mine", "from": 1})
	if e := c.next("err"); e.str("id") != "mine" {
		t.Errorf("the id is lost: %v", e)
	}
	if err := c.ws.WriteMessage(gorilla.TextMessage, []byte(`{"op":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := c.ws.ReadMessage(); err != nil {
			if !gorilla.IsCloseError(err, gorilla.CloseUnsupportedData) {
				t.Errorf("text on a binary connection: %v", err)
			}
			return
		}
	}
}

func TestBatches(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	c.send(` [ {"op":"ping","id":"1"}, {"op":"nope","id":"2"} , {"op":"ping","id":"3"}] `)
	if a, b, e := c.answer("1"), c.answer("3"), c.answer("2"); a.str("op") != "pong" || b.str("op") != "pong" || e.str("op") != "err" {
		t.Errorf("%v %v %v", a, b, e)
	}
	many := `[{"op":"ping"}`
	for range 256 {
		many += `,{"op":"ping"}`
	}
	for name, text := range map[string]string{
		"empty": `[]`, "too many": many + `]`, "cut": `[{"op":"ping","id":"x"}`, "something behind": `[{"op":"ping","id":"x"}]1`, "no comma": `[{"op":"ping"}{"op":"ping"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			c.send(text)
			if e := c.next("err"); e.str("code") != core.CodeInvalid.String() {
				t.Errorf("%v", e)
			}
		})
	}
	c.t = t
	c.send(`[[{"op":"ping"}]]`)
	c.next("err")
	c.back = nil
	c.quiet()
	c.refused(frame{"op": "options"}, core.CodeInvalid)
}

// TestBatchesToTheClient: who asks for them gets arrays, none of them large, and nothing else changes.
func TestBatchesToTheClient(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.Durability = "os" })
	d.stream(1000)
	header := http.Header{}
	dialer := gorilla.Dialer{Subprotocols: []string{websocket.Protocol}}
	ws, _, err := dialer.DialContext(t.Context(), d.url+"?batch=true", header)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteMessage(gorilla.TextMessage, []byte(`{"op":"sub","sid":"x","stream":"S","from":"all"}`)); err != nil {
		t.Fatal(err)
	}
	if err := ws.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	arrays, seen := 0, 0
	for seen < 1000 {
		_, b, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if b[0] != '[' {
			b = append(append([]byte{'['}, b...), ']')
		} else {
			arrays++
		}
		var frames []frame
		if err := json.Unmarshal(b, &frames); err != nil {
			t.Fatal(err)
		}
		if len(frames) > 256 || len(b) > 66<<10 {
			t.Errorf("%d frames of %d bytes", len(frames), len(b))
		}
		for _, f := range frames {
			if f.str("op") == "msg" {
				if seen++; f.num("seq") != seen {
					t.Fatalf("%v, want %d", f, seen)
				}
			}
		}
	}
	if arrays == 0 {
		t.Error("no arrays")
	}
}

// TestLeftoverOfAnother: what was gathered for a client that has gone never reaches another.
func TestLeftoverOfAnother(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.Durability = "os" })
	d.stream(3000)
	for range 20 {
		lost, _, err := (&gorilla.Dialer{}).DialContext(t.Context(), d.url+"?batch=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := lost.WriteMessage(gorilla.TextMessage, []byte(`{"op":"sub","sid":"x","stream":"S","from":"all"}`)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := lost.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		lost.Close()
		d.dial().quiet()
	}
}
