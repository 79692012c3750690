package wire_test

import (
	"bytes"
	"io"
	"testing"

	"portico/adapters/amqp/wire"
)

func TestAppendBody(t *testing.T) {
	const full = wire.FrameMinSize - wire.FrameOverhead
	tests := map[string]struct {
		size     int
		frameMax uint32
		frames   []int
	}{
		"empty":               {0, wire.FrameMinSize, nil},
		"one octet":           {1, wire.FrameMinSize, []int{1}},
		"exactly one frame":   {full, wire.FrameMinSize, []int{full}},
		"one octet over":      {full + 1, wire.FrameMinSize, []int{full, 1}},
		"exactly three":       {3 * full, wire.FrameMinSize, []int{full, full, full}},
		"no limit":            {200_000, 0, []int{200_000}},
		"below the least one": {full + 1, 100, []int{full, 1}},
		"larger frames":       {131064 + 5, 131072, []int{131064, 5}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			body := make([]byte, tt.size)
			for i := range body {
				body[i] = byte(i * 7)
			}
			octets := wire.AppendBody([]byte{}, 5, body, tt.frameMax)
			r := wire.NewReader(bytes.NewReader(octets), 1<<20)
			var got []byte
			for i, want := range tt.frames {
				f, err := r.ReadFrame()
				if err != nil || f.Type != wire.FrameBody || f.Channel != 5 || len(f.Payload) != want {
					t.Fatalf("frame %d: %v of %d octets on %d, %v; want %d", i, f.Type, len(f.Payload), f.Channel, err, want)
				}
				got = append(got, f.Payload...)
			}
			if _, err := r.ReadFrame(); err != io.EOF {
				t.Errorf("after the last frame: %v", err)
			}
			if !bytes.Equal(got, body) {
				t.Error("the frames are not the body")
			}
		})
	}
}

func TestFrameType(t *testing.T) {
	for typ, want := range map[wire.FrameType]string{
		wire.FrameMethod: "method", wire.FrameHeader: "header", wire.FrameBody: "body",
		wire.FrameHeartbeat: "heartbeat", 4: "unknown",
	} {
		if got := typ.String(); got != want {
			t.Errorf("type %d is %q, want %q", uint8(typ), got, want)
		}
	}
}

func TestAppendFrameStart(t *testing.T) {
	payload := []byte("payload")
	parts := append(wire.AppendFrameStart(nil, wire.FrameBody, 0x1234, 7), payload...)
	parts = append(parts, wire.FrameEnd)
	whole := wire.AppendFrame(nil, wire.Frame{Type: wire.FrameBody, Channel: 0x1234, Payload: payload})
	if !bytes.Equal(parts, whole) || !bytes.Equal(whole[:7], []byte{3, 0x12, 0x34, 0, 0, 0, 7}) {
		t.Errorf("parts % x, whole % x", parts, whole)
	}
}
