package wire_test

import (
	"bytes"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"portico/adapters/amqp/wire"
)

// Every tag in octets, both ways; the values are RabbitMQ's readings.
func TestTableOctets(t *testing.T) {
	tests := map[string]struct {
		octets string // tag and value
		value  any
	}{
		"S":           {"53 00000003 616263", "abc"},
		"S any octet": {"53 00000002 ff00", "\xff\x00"},
		"S empty":     {"53 00000000", ""},
		"T":           {"54 0000000065a0bc00", time.Date(2024, 1, 12, 4, 11, 44, 0, time.UTC)},
		"T huge":      {"54 ffffffffffffffff", time.Unix(-1, 0).UTC()},
		"b":           {"62 80", int8(-128)},
		"B":           {"42 ff", uint8(255)},
		"t true":      {"74 01", true},
		"t false":     {"74 00", false},
		"s":           {"73 fffe", int16(-2)},
		"u":           {"75 fffe", uint16(65534)},
		"I":           {"49 80000000", int32(math.MinInt32)},
		"i":           {"69 ffffffff", uint32(math.MaxUint32)},
		"l":           {"6c 8000000000000000", int64(math.MinInt64)},
		"f":           {"66 3fc00000", float32(1.5)},
		"d":           {"64 c000000000000000", float64(-2)},
		"D":           {"44 02 ffffffff", wire.Decimal{Scale: 2, Value: math.MaxUint32}},
		"F":           {"46 00000004 01 78 74 01", wire.Table{"x": true}},
		"F empty":     {"46 00000000", wire.Table{}},
		"A":           {"41 00000007 53 00000001 61 56", []any{"a", nil}},
		"A empty":     {"41 00000000", []any{}},
		"x":           {"78 00000002 00ff", []byte{0, 255}},
		"x empty":     {"78 00000000", []byte{}},
		"V":           {"56", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			value := unhex(t, tt.octets)
			entry := append([]byte{1, 'k'}, value...)
			octets := append([]byte{0, 0, 0, byte(len(entry))}, entry...)
			want := wire.Table{"k": tt.value}

			got, rest, err := wire.DecodeTable(append(bytes.Clone(octets), "rest"...))
			if err != nil || !reflect.DeepEqual(got, want) || string(rest) != "rest" {
				t.Errorf("decoded %#v, rest %q, %v; want %#v", got, rest, err, want)
			}
			if got, err := wire.AppendTable([]byte("x"), want); err != nil || !bytes.Equal(got[1:], octets) {
				t.Errorf("encoded % x, %v; want % x", got[1:], err, octets)
			}
			if got, err := wire.DecodeTableEntries(entry); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("entries decoded %#v, %v", got, err)
			}
			if got := wire.PeekTable(octets, "k"); !bytes.Equal(got, value) {
				t.Errorf("peeked % x", got)
			}
			if got, err := wire.DecodeValue(value); err != nil || !reflect.DeepEqual(got, tt.value) {
				t.Errorf("value decoded %#v, %v", got, err)
			}
			if err := wire.TableValid(octets); err != nil {
				t.Errorf("not valid: %v", err)
			}
		})
	}
}

// Readings that do not come back in the same octets.
func TestTableReadings(t *testing.T) {
	tests := map[string]struct {
		octets string
		want   wire.Table
	}{
		"L is signed, as l":      {"0000000b 01 6b 4c ffffffffffffffff", wire.Table{"k": int64(-1)}},
		"any octet but 0 is set": {"00000004 01 6b 74 02", wire.Table{"k": true}},
		"the first of equals":    {"00000008 01 6b 42 01 01 6b 42 02", wire.Table{"k": uint8(1)}},
		"the empty key":          {"00000003 00 42 01", wire.Table{"": uint8(1)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			octets := unhex(t, tt.octets)
			got, rest, err := wire.DecodeTable(octets)
			if err != nil || len(rest) != 0 || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("decoded %#v, %v; want %#v", got, err, tt.want)
			}
			if err := wire.TableValid(octets); err != nil {
				t.Errorf("not valid: %v", err)
			}
		})
	}
}

func TestTableRefuses(t *testing.T) {
	tests := map[string]string{
		"nothing":              "",
		"half a length":        "0000",
		"length beyond":        "00000005 00",
		"4 GiB":                "ffffffff 00",
		"key beyond":           "00000002 05 61",
		"no tag":               "00000002 01 61",
		"tag U of other peers": "00000005 01 61 55 0001",
		"tag zero":             "00000003 01 61 00",
		"string beyond":        "00000008 01 61 53 00000002 61",
		"string 4 GiB":         "00000007 01 61 53 ffffffff",
		"octets 4 GiB":         "00000007 01 61 78 ffffffff",
		"array 4 GiB":          "00000007 01 61 41 ffffffff",
		"table inside 4 GiB":   "00000007 01 61 46 ffffffff",
		"array outgrows table": "00000009 01 61 41 00000003 42 01",
		"short value":          "00000004 01 61 49 00",
		"half a decimal":       "00000006 01 61 44 00 0000",
		"fault in an array":    "00000008 01 61 41 00000001 55",
		"fault in a table":     "0000000a 01 61 46 00000003 01 62 55",
	}
	for name, octets := range tests {
		t.Run(name, func(t *testing.T) {
			b := unhex(t, octets)
			got, rest, err := wire.DecodeTable(b)
			wantCode(t, err, wire.SyntaxError)
			if got != nil || rest != nil {
				t.Errorf("table %v and rest % x beside the error", got, rest)
			}
			wantCode(t, wire.TableValid(b), wire.SyntaxError)
		})
	}
	wantCode(t, wire.TableValid([]byte{0, 0, 0, 0, 1}), wire.SyntaxError)
	_, err := wire.DecodeTableEntries([]byte{1, 'k', 'U'})
	wantCode(t, err, wire.SyntaxError)
	_, err = wire.DecodeValue([]byte{'B', 1, 2})
	wantCode(t, err, wire.SyntaxError)
}

// nested is a table of the given depth, of tables or arrays inside.
func nested(depth int, arrays bool) wire.Table {
	var v any = wire.Table{}
	if arrays {
		v = []any{}
	}
	for range depth - 2 {
		if arrays {
			v = []any{v}
		} else {
			v = wire.Table{"": v}
		}
	}
	return wire.Table{"": v}
}

func TestTableDepth(t *testing.T) {
	for _, arrays := range []bool{false, true} {
		deepest, err := wire.AppendTable(nil, nested(64, arrays))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := wire.DecodeTable(deepest); err != nil {
			t.Errorf("arrays %v: depth 64: %v", arrays, err)
		}
		if err := wire.TableValid(deepest); err != nil {
			t.Errorf("arrays %v: depth 64 is not valid: %v", arrays, err)
		}
		if b, err := wire.AppendTable([]byte("x"), nested(65, arrays)); err == nil || string(b) != "x" {
			t.Errorf("arrays %v: depth 65 encodes to % x, %v", arrays, b, err)
		}
		// one more layer around the deepest, in octets
		inner := append([]byte{0, 'F'}, deepest...)
		deeper := append([]byte{0, 0, byte(len(inner) >> 8), byte(len(inner))}, inner...)
		_, _, err = wire.DecodeTable(deeper)
		wantCode(t, err, wire.SyntaxError)
		wantCode(t, wire.TableValid(deeper), wire.SyntaxError)
	}
}

// Octets of a hostile peer cost memory in proportion to their number.
func TestTableAllocationIsBounded(t *testing.T) {
	const size = 128 << 10
	array := func(pattern string) []byte {
		body := bytes.Repeat([]byte(pattern), size/len(pattern))
		n := len(body)
		entry := append([]byte{0, 'A', byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
		m := len(entry)
		return append([]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}, entry...)
	}
	for name, octets := range map[string][]byte{
		"voids":         array("V"),
		"empty tables":  array("F\x00\x00\x00\x00"),
		"empty arrays":  array("A\x00\x00\x00\x00"),
		"empty strings": array("S\x00\x00\x00\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := wire.DecodeTable(octets)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			if perOctet := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(octets)); perOctet > 100 {
				t.Errorf("%.0f octets of memory for one on the wire", perOctet)
			}
		})
	}
}

func TestAppendTableTakesPlainTypes(t *testing.T) {
	got, err := wire.AppendTable(nil, wire.Table{"m": map[string]any{"i": 7}})
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := wire.DecodeTable(got)
	if want := (wire.Table{"m": wire.Table{"i": int64(7)}}); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("%#v, %v; want %#v", back, err, want)
	}
}

func TestAppendTableRefuses(t *testing.T) {
	for name, table := range map[string]wire.Table{
		"struct":    {"k": struct{}{}},
		"uint64":    {"k": uint64(1)},
		"in array":  {"k": []any{complex(1, 1)}},
		"in table":  {"k": wire.Table{"k": make(chan int)}},
		"long key":  {strings.Repeat("k", 256): 1},
		"a []int":   {"k": []int{1}},
		"a pointer": {"k": new(int)},
	} {
		t.Run(name, func(t *testing.T) {
			if b, err := wire.AppendTable([]byte("x"), table); err == nil || string(b) != "x" {
				t.Errorf("% x, %v", b, err)
			}
			// A method has no error to return: the octets stay well formed.
			frame := wire.AppendMethod(nil, 1, &wire.QueueDeclare{Arguments: table})
			if _, err := wire.DecodeMethod(frame[7 : len(frame)-1]); err != nil {
				t.Errorf("a method with it does not decode: %v", err)
			}
		})
	}
}

func TestPeekTable(t *testing.T) {
	octets, err := wire.AppendTable(nil, wire.Table{"a": "x", "b": []any{"y"}, "c": uint8(3)})
	if err != nil {
		t.Fatal(err)
	}
	if got := wire.PeekTable(octets, "c"); !bytes.Equal(got, []byte{'B', 3}) {
		t.Errorf("c is % x", got)
	}
	if got := wire.PeekTable(octets, "d"); got != nil {
		t.Errorf("absent key gives % x", got)
	}
	if got := wire.PeekTable(octets[:len(octets)-1], "c"); got != nil {
		t.Errorf("a table cut short gives % x", got)
	}
	if got := wire.PeekTable(nil, "c"); got != nil {
		t.Errorf("no table gives % x", got)
	}
	allocates(t, 0, func() { wire.PeekTable(octets, "c") })
}

// drawValue draws any value a table can hold; NaN is left to its own test, as it
// differs from itself.
func drawValue(rt *rapid.T, depth int) any {
	kinds := 16
	if depth > 0 {
		kinds = 18
	}
	switch rapid.IntRange(0, kinds-1).Draw(rt, "kind") {
	case 0:
		return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "S"))
	case 1:
		return time.Unix(rapid.Int64().Draw(rt, "T"), 0).UTC()
	case 2:
		return rapid.Int8().Draw(rt, "b")
	case 3:
		return rapid.Uint8().Draw(rt, "B")
	case 4:
		return rapid.Bool().Draw(rt, "t")
	case 5:
		return rapid.Int16().Draw(rt, "s")
	case 6:
		return rapid.Uint16().Draw(rt, "u")
	case 7:
		return rapid.Int32().Draw(rt, "I")
	case 8:
		return rapid.Uint32().Draw(rt, "i")
	case 9, 10:
		return rapid.Int64().Draw(rt, "l")
	case 11:
		return rapid.Float32().Draw(rt, "f")
	case 12:
		return rapid.Float64().Draw(rt, "d")
	case 13:
		return wire.Decimal{Scale: rapid.Uint8().Draw(rt, "scale"), Value: rapid.Uint32().Draw(rt, "value")}
	case 14:
		return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "x")
	case 15:
		return nil
	case 16:
		return drawTable(rt, depth-1)
	default:
		vs := []any{}
		for range rapid.IntRange(0, 4).Draw(rt, "values") {
			vs = append(vs, drawValue(rt, depth-1))
		}
		return vs
	}
}

func drawTable(rt *rapid.T, depth int) wire.Table {
	t := wire.Table{}
	for range rapid.IntRange(0, 5).Draw(rt, "entries") {
		t[rapid.StringN(0, 20, 255).Draw(rt, "key")] = drawValue(rt, depth)
	}
	return t
}

func TestTableRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := drawTable(rt, 4)
		octets, err := wire.AppendTable(nil, want)
		if err != nil {
			rt.Fatal(err)
		}
		got, rest, err := wire.DecodeTable(octets)
		if err != nil || len(rest) != 0 || !reflect.DeepEqual(got, want) {
			rt.Fatalf("got %#v, %v; want %#v", got, err, want)
		}
		if again, _ := wire.AppendTable(nil, got); !bytes.Equal(again, octets) {
			rt.Fatalf("% x once and % x again", octets, again)
		}
		if err := wire.TableValid(octets); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestNaNKeepsItsBits(t *testing.T) {
	octets := unhex(t, "00000010 01 66 66 7fc00001 01 67 64 fff8000000000001")
	octets[3] = byte(len(octets) - 4)
	table, _, err := wire.DecodeTable(octets)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := wire.AppendTable(nil, table); err != nil || !bytes.Equal(got, octets) {
		t.Errorf("% x, %v; want % x", got, err, octets)
	}
}
