package wire_test

import (
	"strings"
	"testing"
	"time"

	"portico/adapters/amqp/wire"
)

// traceOf is the trace of one encoded frame.
func traceOf(t *testing.T, octets []byte) string {
	t.Helper()
	f, err := wire.NewReader(strings.NewReader(string(octets)), 1<<20).ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	return wire.Trace(f)
}

func TestTrace(t *testing.T) {
	everyTag := wire.Table{
		"S": "s p", "T": time.Unix(9, 0), "b": int8(-1), "B": uint8(1), "t": true, "s": int16(-2), "u": uint16(2), "I": int32(-3), "i": uint32(3),
		"l": int64(-4), "f": float32(1.5), "d": 2.5, "D": wire.Decimal{Scale: 2, Value: 314}, "F": wire.Table{"k": "v"}, "A": []any{"a", nil}, "x": []byte{1, 255}, "V": nil, "a b": false,
	}
	props := wire.Properties{
		Flags: wire.FlagPriority, ContentType: "text/plain", ContentEncoding: "gzip", Headers: wire.Table{"h": int64(1)}, DeliveryMode: 2, CorrelationID: "c 1",
		ReplyTo: "r", Expiration: "1000", MessageID: "m", Timestamp: time.Unix(7, 0), Type: "t", UserID: "guest", AppID: "a", ClusterID: "\n",
	}
	tests := map[string]struct {
		octets []byte
		want   string
	}{
		"bits": {
			wire.AppendMethod(nil, 1, &wire.QueueDeclare{Queue: "q", Durable: true, Arguments: wire.Table{"x-max-length": int32(5)}}),
			`1 method queue.declare queue="q" durable=1 arguments={x-max-length=I:5}`,
		},
		"numbers":      {wire.AppendMethod(nil, 0, &wire.ConnectionTune{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60}), "0 method connection.tune channel-max=2047 frame-max=131072 heartbeat=60"},
		"no arguments": {wire.AppendMethod(nil, 2, &wire.TxSelect{}), "2 method tx.select"},
		"a password": {
			wire.AppendMethod(nil, 0, &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00guest", Locale: "en_US"}),
			`0 method connection.start-ok client-properties={} mechanism="PLAIN" response=<12 octets> locale="en_US"`,
		},
		"a new secret": {wire.AppendMethod(nil, 0, &wire.ConnectionUpdateSecret{NewSecret: "token", Reason: "r"}), `0 method connection.update-secret new-secret=<5 octets> reason="r"`},
		"every tag": {
			wire.AppendMethod(nil, 1, &wire.QueueBind{Arguments: everyTag}),
			`1 method queue.bind queue="" exchange="" routing-key="" arguments={A=["a" void] B=B:1 D=D:314e-2 F={k="v"} I=I:-3 S="s p" T=T:9 V=void "a b"=false b=b:-1 d=d:2.5 f=f:1.5 i=i:3 l=l:-4 s=s:-2 t=true u=u:2 x=x:01ff}`,
		},
		"header": {wire.AppendHeader(nil, 1, wire.ClassBasic, 5, (&wire.Properties{ContentType: "text/plain"}).Append(nil)), "1 header basic size=5 content-type=text/plain"},
		"all properties": {
			wire.AppendHeader(nil, 1, wire.ClassBasic, 5, props.Append(nil)),
			`1 header basic size=5 content-type=text/plain content-encoding=gzip headers={h=l:1} delivery-mode=2 priority=0 correlation-id="c 1" reply-to=r expiration=1000 message-id=m timestamp=7 type=t user-id=guest app-id=a cluster-id="\n"`,
		},
		"other class":    {wire.AppendHeader(nil, 1, 90, 0, nil), "1 header class=90 size=0"},
		"body":           {wire.AppendBody(nil, 1, []byte("hello"), 0), "1 body 5"},
		"heartbeat":      {wire.AppendHeartbeat(nil), "0 heartbeat"},
		"line in a name": {wire.AppendMethod(nil, 1, &wire.QueueDelete{Queue: "a\nb"}), `1 method queue.delete queue="a\nb"`},
		"malformed method": {
			wire.AppendFrame(nil, wire.Frame{Type: wire.FrameMethod, Channel: 1, Payload: []byte{0, 60, 0, 40}}),
			"1 method malformed: SYNTAX_ERROR - basic.publish: short integer is cut short",
		},
		"malformed header": {
			wire.AppendFrame(nil, wire.Frame{Type: wire.FrameHeader, Channel: 1, Payload: []byte{0, 60}}),
			"1 header malformed: SYNTAX_ERROR - content header of 2 octets",
		},
		"malformed properties": {
			wire.AppendHeader(nil, 1, wire.ClassBasic, 0, []byte{0x80, 0, 5}),
			"1 header basic size=0 malformed: SYNTAX_ERROR - content properties: short string is cut short",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := traceOf(t, tt.octets); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestTraceIsBounded(t *testing.T) {
	wide := wire.Table{}
	for i := range 5000 {
		wide[strings.Repeat("k", i%200)+string(rune('a'+i%26))+time.Unix(int64(i), 0).String()] = []any{strings.Repeat("v", 1000), wire.Table{"x": make([]byte, 3000)}}
	}
	line := traceOf(t, wire.AppendMethod(nil, 1, &wire.ConnectionStart{ServerProperties: wire.Table{"a": []any{"x", "y"}}, Mechanisms: strings.Repeat("m", 100_000)}))
	if len(line) > 2048 {
		t.Errorf("%d octets for a long string", len(line))
	}
	octets := wire.AppendMethod(nil, 1, &wire.QueueDeclare{Arguments: wide})
	if line := wire.Trace(wire.Frame{Type: wire.FrameMethod, Payload: octets[7 : len(octets)-1]}); len(line) > 2048 {
		t.Errorf("%d octets for a large table", len(line))
	}
}
