package websocket

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"portico/core"

	"github.com/fxamacker/cbor/v2"
)

// FuzzDecodeCBOR: no panic, no more memory than a small multiple of the input, nothing accepted that breaks a limit, and what is accepted is what the same frame in JSON would be.
func FuzzDecodeCBOR(f *testing.F) {
	w, err := newCBOR()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []any{
		map[string]any{"op": "pub", "id": "1", "subject": "a.b", "data": []byte{0, 255}, "headers": map[string]any{"k": []string{"1", "2"}, "l": "3"}},
		map[string]any{"op": "sub", "sid": "x", "stream": "S", "from": map[string]any{"seq": 3}, "filter": map[string]any{"all": []any{map[string]any{"header": "a", "equal": "b"}}}},
		map[string]any{"op": "ack", "tags": []uint64{1, 2, 1 << 63}}, map[string]any{"op": "kv_keys", "after": "a", "limit": -1}, map[string]any{"op": "sub", "info": map[string]any{"x": 1.5}},
		[]any{map[string]any{"op": "ping"}, map[string]any{"op": "ping"}}, "ping", nil,
	} {
		b, err := cbor.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, seed := range []string{"", "\xff", "\xbf\x62op\x64ping\xff", "\xa1\x62op\xc0\x64ping", "\xa2\x62op\x63ack\x64tags\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", "\x9f\xff", "\xa1\x62id\x7a\xff\xff\xff\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		frame, err := w.decode(b)
		frames, _, splitErr := w.split(b)
		if spent := allocated() - before; spent > 1<<20+uint64(len(b))*512 {
			t.Errorf("%d bytes for a frame of %d", spent, len(b))
		}
		if len(frame.ID) > maxID || len(frame.SID) > maxID || len(frame.Tags) > maxTags && err == nil || len(frame.data) > len(b) || len(frames) > maxBatch {
			t.Errorf("out of bounds: %+v", frame)
		}
		for _, err := range []error{err, splitErr} {
			if err != nil && (core.AsError(err).Code != core.CodeInvalid || core.AsError(err).Detail == "") {
				t.Errorf("error %v", err)
			}
		}
	})
}

// FuzzSplitJSON: a batch is its frames, no more of them than may be, and each is JSON.
func FuzzSplitJSON(f *testing.F) {
	for _, seed := range []string{`[{"op":"ping"},{"op":"ping"}]`, ` [1 , 2]`, `[`, `[]`, `[[]]`, `{"op":"ping"}`, `[1]2`, `[1`, ``, `[` + strings.Repeat(`1,`, 300) + `1]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frames, batch, err := jsonWire{}.split(b)
		if !batch && (err != nil || frames != nil) || err == nil && batch && (len(frames) == 0 || len(frames) > maxBatch || !json.Valid(b)) {
			t.Errorf("%q: %d frames, batch %v, %v", b, len(frames), batch, err)
		}
		for _, one := range frames {
			if err == nil && !json.Valid(one) {
				t.Errorf("%q has %q", b, one)
			}
		}
	})
}

// FuzzEncodeCBOR: whatever a message holds, its frame is one CBOR map, which a strict decoder takes, with the same payload.
func FuzzEncodeCBOR(f *testing.F) {
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, DefaultMapType: reflect.TypeFor[map[string]any]()}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	w, err := newCBOR()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a.b", "", "value", []byte("data"))
	f.Add("\x00", "\"\\", "\u2028", []byte("\xff\xfe"))
	f.Add(strings.Repeat("a", 300), "\x1f", "\xc3", bytes.Repeat([]byte{'x'}, 70_000))
	f.Fuzz(func(t *testing.T, subject, reply, value string, data []byte) {
		m := core.Message{Subject: subject, Reply: reply, Header: core.Header{"one": {value}, "two": {value, "x"}, core.HeaderOrigin: {"no"}}, Data: data}
		stored := &core.StoredMessage{Message: m, Sequence: 1 << 40, Time: time.Unix(1, 2)}
		for _, kind := range []itemKind{itemMsg, itemRes, itemDelivery, itemStored} {
			i := &item{kind: kind, name: value, message: &m, stored: stored, source: &source{stream: "S"}, delivery: &delivery{tag: 300, attempt: 70_000}}
			var got map[string]any
			if err := mode.Unmarshal(w.message(nil, i), &got); err != nil {
				t.Fatalf("kind %d: %v", kind, err)
			}
			headers, _ := got["headers"].(map[string]any)
			if !bytes.Equal(got["data"].([]byte), data) || len(headers) != 2 || utf8.ValidString(value) && headers["one"] != value {
				t.Errorf("kind %d: %v", kind, got)
			}
		}
		a := answer{Op: "entry", ID: value, Detail: reply, payload: data, Members: &[]core.Member{{Client: value, Info: json.RawMessage(`{"a":[1,-1,1.5,null,true,"x"]}`)}}}
		var got map[string]any
		if err := mode.Unmarshal(w.answer(nil, &a), &got); err != nil || got["op"] != "entry" || data != nil && !bytes.Equal(got["data"].([]byte), data) {
			t.Errorf("answer: %v %v", got, err)
		}
	})
}
