package websocket

import (
	"encoding/json"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"portico/core"
)

func TestDecodeFrame(t *testing.T) {
	for text, check := range map[string]func(frame) bool{
		`{"op":"pub","id":"1","subject":"a","data":"x"}`:             func(f frame) bool { return f.ID == "1" && f.Subject == "a" && string(f.data) == "x" },
		`{"op":"pub","data_base64":"AP8="}`:                          func(f frame) bool { return string(f.data) == "\x00\xff" },
		`{"op":"pub"}`:                                               func(f frame) bool { return f.data == nil },
		`{"op":"pub","headers":{"a":"1","b":["2","3"],"c":[]}}`:      func(f frame) bool { return len(f.Headers) == 2 && len(f.Headers["b"]) == 2 },
		`{"op":"req","timeout":"1500ms"}`:                            func(f frame) bool { return time.Duration(f.Timeout) == 1500*time.Millisecond },
		`{"op":"ack","tag":3,"tags":[1,2]}`:                          func(f frame) bool { return slices.Equal(f.Tags, []uint64{1, 2, 3}) },
		` {"op":"ping"} ` + "\n":                                     func(f frame) bool { return f.Op == "ping" },
		`{"op":"declare","queue":"q","dead_letter":{"subject":"d"}}`: func(f frame) bool { return f.Death.where.Subject == "d" },
	} {
		if f, err := decodeFrame([]byte(text)); err != nil || !check(f) {
			t.Errorf("%s: %+v %v", text, f, err)
		}
	}
}

func TestDecodeFrameRefuses(t *testing.T) {
	for text, id := range map[string]string{
		`{"id":"x","nope":1}`:                                     "x",
		`{"id":"x","subject":1}`:                                  "x",
		`{"id":"x","data":"a","data_base64":"YQ=="}`:              "x",
		`{"id":"x","data_base64":"a"}`:                            "x",
		`{"id":"x","headers":{"a":null}}`:                         "x",
		`{"id":"x","headers":[]}`:                                 "x",
		`{"id":"x","timeout":"0s"}`:                               "x",
		`{"id":"x","lease":"13h"}`:                                "x",
		`{"id":"x","tag":-1}`:                                     "x",
		`{"id":"x","tags":[` + strings.Repeat("1,", 5000) + `1]}`: "x",
		`{"id":"x"} 1`:                                            "x",
		`{"id":1}`:                                                "",
		`{"id":"` + strings.Repeat("i", 65) + `"}`:                "",
		`{"id":"x"`:                                               "",
		`"x"`:                                                     "",
		``:                                                        "",
	} {
		f, err := decodeFrame([]byte(text))
		if core.AsError(err).Code != core.CodeInvalid || f.ID != id {
			t.Errorf("%.60s: id %q, %v", text, f.ID, err)
		}
	}
}

// FuzzDecodeFrame: no panic, no more memory than a small multiple of the input, and nothing accepted that breaks a limit.
func FuzzDecodeFrame(f *testing.F) {
	for _, seed := range []string{
		`{"op":"pub","id":"1","subject":"a.b","data":"x","headers":{"k":["1","2"],"l":"3"}}`, `{"op":"pub","data_base64":"AP8="}`,
		`{"op":"consume","sid":"c","queue":"q","credit":10,"lease":"30s"}`, `{"op":"ack","tags":[1,2,3],"tag":4}`,
		`{"op":"declare","queue":"q","durable":false,"dead_letter":{"queue":"d"},"max_deliveries":3}`,
		`{"op":"\ud800"}`, `[[[[[[`, `{"headers":{"a":{"b":{}}}}`, `{"tag":18446744073709551616}`, `{"lease":"99999999999h"}`, `{} {}`, "{\"op\":\"\xff\"}", ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		frame, err := decodeFrame(b)
		if spent := allocated() - before; spent > 1<<20+uint64(len(b))*256 {
			t.Errorf("%d bytes for a frame of %d", spent, len(b))
		}
		if len(frame.ID) > maxID || len(frame.SID) > maxID || len(frame.Tags) > maxTags && err == nil || len(frame.data) > len(b)*3 {
			t.Errorf("out of bounds: %+v", frame)
		}
		if err != nil && core.AsError(err).Code != core.CodeInvalid {
			t.Errorf("error %v", err)
		}
	})
}

// allocated returns the bytes that have been allocated so far, without stopping the world.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// FuzzEncodeMessage: whatever a message holds, its frame is one line of JSON with the same payload.
func FuzzEncodeMessage(f *testing.F) {
	f.Add("a.b", "", "name", "value", []byte("data"))
	f.Add("\x00", "\"\\", "\n", "\u2028", []byte("\xff\xfe"))
	f.Add("é", "\x1f", "\x7f", "\xc3", []byte{})
	f.Fuzz(func(t *testing.T, subject, reply, name, value string, data []byte) {
		m := &core.Message{Subject: subject, Reply: reply, Header: core.Header{name: {value}, "two": {value, "x"}}, Data: data}
		for _, b := range [][]byte{appendMsg(nil, value, m), appendRes(nil, value, m), appendDelivery(nil, value, 1, 2, true, m)} {
			var got struct {
				Op         string
				Data       string
				DataBase64 []byte `json:"data_base64"`
				Headers    map[string]any
			}
			if err := json.Unmarshal(b, &got); err != nil || !utf8.Valid(b) || strings.Contains(string(b), "\n") {
				t.Fatalf("%q: %v", b, err)
			}
			if got.Data+string(got.DataBase64) != string(data) {
				t.Errorf("payload %q became %q %q", data, got.Data, got.DataBase64)
			}
			shownName := strings.ToValidUTF8(name, "\uFFFD")
			if utf8.ValidString(name) && utf8.ValidString(value) && name != "two" && !strings.EqualFold(name, core.HeaderOrigin) &&
				!strings.EqualFold(name, core.HeaderAMQP) && got.Headers[shownName] != value {
				t.Errorf("header %q: %v", name, got.Headers)
			}
		}
	})
}
