package broker_test

import (
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

func TestDelay(t *testing.T) {
	x := broker.Exchange{Name: "x", Type: broker.DelayedMessage, Arguments: wire.Table{"x-delayed-type": "direct"}}
	const ms = time.Millisecond
	cases := map[string]struct {
		value   any
		want    time.Duration
		negated any // of the header when the delay is over
	}{
		"byte":               {int8(5), 5 * ms, int64(-5)},
		"unsigned byte":      {uint8(200), 200 * ms, int64(-200)},
		"short":              {int16(5000), 5 * time.Second, int64(-5000)},
		"unsigned short":     {uint16(60000), time.Minute, int64(-60000)},
		"int":                {int32(5000), 5 * time.Second, int64(-5000)},
		"unsigned int":       {uint32(math.MaxUint32), math.MaxUint32 * ms, int64(-math.MaxUint32)},
		"long":               {int64(1), ms, int64(-1)},
		"longest":            {int64(math.MaxUint32), math.MaxUint32 * ms, int64(-math.MaxUint32)},
		"too long":           {int64(math.MaxUint32 + 1), 0, int64(-math.MaxUint32 - 1)},
		"zero":               {int32(0), 0, int64(0)},
		"negative":           {int32(-5), 0, int64(5)},
		"digits":             {"250", 250 * ms, int64(-250)},
		"digits as octets":   {[]byte("250"), 250 * ms, int64(-250)},
		"negative digits":    {"-250", 0, int64(250)},
		"text":               {"soon", 0, "soon"},
		"text after digits":  {"5s", 0, "5s"},
		"blanks":             {" 5", 0, " 5"},
		"empty":              {"", 0, ""},
		"digits beyond long": {"99999999999999999999", 0, "99999999999999999999"},
		"float":              {float32(2.9), 2 * ms, int64(-2)},
		"double":             {1500.9, 1500 * ms, int64(-1500)},
		"infinite":           {math.Inf(1), 0, math.Inf(1)},
		"bool":               {true, 0, true},
		"void":               {nil, 0, nil},
		"timestamp":          {time.Unix(5, 0), 0, time.Unix(5, 0)},
		"decimal":            {wire.Decimal{Value: 5}, 0, wire.Decimal{Value: 5}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			headers := wire.Table{"x-delay": c.value, "other": "kept"}
			if got := x.Delay(headers); got != c.want {
				t.Errorf("waits %v, want %v", got, c.want)
			}
			want := wire.Table{"x-delay": c.negated, "other": "kept"}
			over := broker.Delayed(headers)
			if !reflect.DeepEqual(over, want) {
				t.Errorf("headers %v, want %v", over, want)
			}
			if got := x.Delay(over); c.want > 0 && got != 0 {
				t.Errorf("waits again, %v", got)
			}
			if !reflect.DeepEqual(headers["x-delay"], c.value) {
				t.Error("headers written")
			}
		})
	}
	if got := x.Delay(nil); got != 0 || broker.Delayed(nil) != nil {
		t.Errorf("no headers: waits %v", got)
	}
	for _, kind := range []string{broker.Direct, broker.ConsistentHash, "x-delayed"} {
		if got := (broker.Exchange{Type: kind}).Delay(wire.Table{"x-delay": int32(5)}); got != 0 {
			t.Errorf("%s delays by %v", kind, got)
		}
	}
}

func TestDelayedExchangeRoutesAsItsType(t *testing.T) {
	v := broker.New("/")
	for _, kind := range []string{broker.Direct, broker.Topic, broker.Fanout, broker.Headers} {
		declare(t, v, kind, broker.DelayedMessage, with(wire.Table{"x-delayed-type": kind}), autoDelete)
		if x, _ := v.Exchange(kind); x.RoutesAs() != kind || x.Type != broker.DelayedMessage {
			t.Fatalf("%+v routes as %s", x, x.RoutesAs())
		}
		mustBind(t, v, broker.Binding{Source: kind, Destination: kind + "-q", Key: "a.*", Arguments: wire.Table{"h": "v"}})
	}
	_, err := v.Bind(broker.Binding{Source: broker.Headers, Destination: "q", Arguments: wire.Table{"x-match": "some"}})
	expectError(t, err, 406, `Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x`)

	check := func(v *broker.VHost) {
		t.Helper()
		expectRoute(t, v, broker.Direct, "a.*", "direct-q")
		expectRoute(t, v, broker.Direct, "a.b")
		expectRoute(t, v, broker.Topic, "a.b", "topic-q")
		expectRoute(t, v, broker.Fanout, "anything", "fanout-q")
		expectRoute(t, v, broker.Headers, "a.*")
		if got := routed(t, v, broker.Headers, "", wire.Table{"h": "v"}); !slices.Equal(got, []string{"headers-q"}) {
			t.Fatalf("reached %v", got)
		}
	}
	check(v)
	w := broker.New("/")
	var xs []broker.Exchange
	for _, x := range v.Exchanges() {
		again, err := broker.DecodeExchange(broker.EncodeExchange(x))
		if err != nil {
			t.Fatal(err)
		}
		xs = append(xs, again)
	}
	if refused := w.Restore(xs, v.Bindings()); names(refused) != nil {
		t.Fatalf("refused %v", refused)
	}
	check(w)
	want := []broker.BusPattern{
		{Exchange: "direct", Key: "a.*"}, {Exchange: "fanout", Key: "#"}, {Exchange: "headers", Key: "#"}, {Exchange: "topic", Key: "a.*"},
	}
	if got := w.BusPatterns(); !slices.Equal(got, want) {
		t.Fatalf("patterns %v", got)
	}
	if got := w.DeleteQueue("topic-q"); !slices.Equal(names(got), []string{"topic", "topic>topic-q"}) {
		t.Fatalf("removed %v", names(got))
	}
}
