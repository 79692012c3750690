package amqp

import (
	"reflect"
	"testing"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core"
)

// TestTypesSurviveText: what a table holds is a header with types beside it, and of that the same table again.
func TestTypesSurviveText(t *testing.T) {
	table := wire.Table{
		"t": true, "b": int8(-1), "B": uint8(255), "s": int16(-300), "u": uint16(65535), "I": int32(-70000), "i": uint32(4294967295), "l": int64(1) << 62,
		"f": float32(0.1), "d": 0.1, "T": time.Unix(1_700_000_000, 0).UTC(), "x": []byte{0, 0xff}, "S": "text",
	}
	props := (&wire.Properties{Headers: table}).Append(appendBlind(appendRoute(nil, []byte("x"), []byte("k")), nil))
	h := Translator{}.Header(props)
	for _, v := range (Translator{}).Types(props) {
		h[v.Name] = []string{v.Text}
		h[core.HeaderTypes] = append(h[core.HeaderTypes], v.Mark())
	}
	if n := len(h[core.HeaderTypes]); n != len(table)-1 {
		t.Errorf("%d types for %d entries: %q", n, len(table), h[core.HeaderTypes])
	}
	if again := headerProperties(h); !reflect.DeepEqual(again.Headers, table) {
		t.Errorf("got %#v, want %#v", again.Headers, table)
	}
}

func TestTypesThatDoNotFitAreText(t *testing.T) {
	for mark, value := range map[string]string{
		"t:k": "yes", "b:k": "128", "B:k": "-1", "s:k": "40000", "u:k": "65536", "I:k": "2147483648", "i:k": "4294967296", "l:k": "1.5",
		"f:k": "x", "d:k": "", "T:k": "2026-01-01T00:00:00.5Z", "x:k": "%", "?:k": "1", "nonsense": "1", "l:other": "1",
	} {
		t.Run(mark, func(t *testing.T) {
			p := headerProperties(core.Header{"k": {value}, core.HeaderTypes: {mark}})
			if want := (wire.Table{"k": value}); !reflect.DeepEqual(p.Headers, want) {
				t.Errorf("got %#v, want %#v", p.Headers, want)
			}
		})
	}
}
