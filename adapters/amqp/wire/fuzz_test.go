package wire_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"portico/adapters/amqp/wire"
)

// seeds are one frame of each method, and the contents of the other tests.
func seeds(f *testing.F) (frames [][]byte) {
	for _, m := range everyMethod(f) {
		frames = append(frames, wire.AppendMethod(nil, 1, m))
	}
	args := wire.Table{"S": "s", "F": wire.Table{"A": []any{int8(1), nil, []byte("x")}}, "D": wire.Decimal{Scale: 1, Value: 2}, "d": 1.5}
	props := wire.Properties{Flags: 0xFFFC, Headers: args, ContentType: "a/b", DeliveryMode: 2}
	return append(frames,
		wire.AppendMethod(nil, 2, &wire.QueueDeclare{Queue: "q", Durable: true, Arguments: args}),
		wire.AppendHeader(nil, 1, wire.ClassBasic, 5, props.Append(nil)),
		wire.AppendHeader(nil, 1, wire.ClassBasic, 5, nil),
		wire.AppendBody(nil, 1, bytes.Repeat([]byte("b"), 5000), wire.FrameMinSize),
		wire.AppendHeartbeat(nil),
		[]byte{1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF},
		[]byte{9, 0, 0, 0, 0, 0, 0, 0xCE},
	)
}

// payload is a frame without its framing.
func payload(frame []byte) []byte {
	if len(frame) < wire.FrameOverhead {
		return nil
	}
	return frame[7 : len(frame)-1]
}

// FuzzReadFrame: however the octets are cut into reads, the frames are the same
// and give back the octets; buffer and payloads keep their bounds.
func FuzzReadFrame(f *testing.F) {
	var all []byte
	for _, frame := range seeds(f) {
		f.Add(frame, uint8(3))
		all = append(all, frame...)
	}
	f.Add(all, uint8(200))
	f.Fuzz(func(t *testing.T, octets []byte, cut uint8) {
		src := bytes.NewReader(octets)
		chunk := int(cut) + 1
		r := wire.NewReader(readerFunc(func(b []byte) (int, error) { return src.Read(b[:min(chunk, len(b))]) }), 8192)
		rest := octets
		for {
			frame, err := r.ReadFrame()
			if size := r.BufferSize(); size > 8192+8 {
				t.Fatalf("%d octets held", size)
			}
			if err != nil {
				checkReadError(t, err, rest)
				return
			}
			if len(frame.Payload) > 8192 {
				t.Fatalf("payload of %d octets", len(frame.Payload))
			}
			if line := wire.Trace(frame); line == "" || len(line) > 2048 {
				t.Fatalf("trace of %d octets", len(line))
			}
			again := wire.AppendFrame(nil, frame)
			if !bytes.HasPrefix(rest, again) {
				t.Fatal("the frames are not the octets")
			}
			rest = rest[len(again):]
		}
	})
}

// checkReadError: the end is clean only when all octets were frames.
func checkReadError(t *testing.T, err error, rest []byte) {
	t.Helper()
	var ce *wire.ConnError
	switch {
	case err == io.EOF && len(rest) == 0:
	case err == io.ErrUnexpectedEOF && len(rest) > 0:
	case errors.As(err, &ce) && ce.Code == wire.FrameError && len(ce.ReplyText()) <= 255:
	default:
		t.Fatalf("error %v with %d octets left", err, len(rest))
	}
}

// FuzzDecodeMethod: what decodes encodes to what decodes to the same; the hot
// decoders agree with it.
func FuzzDecodeMethod(f *testing.F) {
	for _, frame := range seeds(f) {
		f.Add(payload(frame))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		m, err := wire.DecodeMethod(octets)
		if err != nil {
			var ce *wire.ConnError
			if !errors.As(err, &ce) || !wire.HardError(ce.Code) || m != nil {
				t.Fatalf("error %v beside %v", err, m)
			}
			if _, _, _, _, err := wire.DecodePublish(octets); err == nil {
				t.Fatal("only the hot decoder takes it for a publish")
			}
			if _, _, err := wire.DecodeAck(octets); err == nil {
				t.Fatal("only the hot decoder takes it for an ack")
			}
			return
		}
		checkHotDecode(t, m, octets)
		once := payload(wire.AppendMethod(nil, 1, m))
		back, err := wire.DecodeMethod(once)
		if err != nil {
			t.Fatalf("%s does not decode again: %v", m.Name(), err)
		}
		if twice := payload(wire.AppendMethod(nil, 1, back)); !bytes.Equal(once, twice) {
			t.Fatalf("%s: % x, then % x", m.Name(), once, twice)
		}
	})
}

// values counts the values in v, itself included.
func values(v any) int {
	n := 1
	switch v := v.(type) {
	case wire.Table:
		for _, inner := range v {
			n += values(inner)
		}
	case []any:
		for _, inner := range v {
			n += values(inner)
		}
	}
	return n
}

// FuzzTable: decoding and validating agree, re-encoding is a fixpoint, and there
// are never more values than octets.
func FuzzTable(f *testing.F) {
	for _, frame := range seeds(f) {
		if _, _, raw, err := wire.DecodeHeader(payload(frame)); err == nil {
			f.Add(wire.PeekHeaders(raw))
		}
	}
	deep, err := wire.AppendTable(nil, nested(64, true))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(deep)
	f.Fuzz(func(t *testing.T, octets []byte) {
		table, rest, err := wire.DecodeTable(octets)
		valid := wire.TableValid(octets[:len(octets)-len(rest)])
		if (err == nil) != (valid == nil) {
			t.Fatalf("decoded with %v, validated with %v", err, valid)
		}
		if err != nil {
			wantCode(t, err, wire.SyntaxError)
			return
		}
		if n := values(table); n > len(octets) {
			t.Fatalf("%d values in %d octets", n, len(octets))
		}
		for key := range table {
			if wire.PeekTable(octets, key) == nil {
				t.Fatalf("key %q is not to be found", key)
			}
		}
		once, err := wire.AppendTable(nil, table)
		if err != nil || len(once) > len(octets)-len(rest) {
			t.Fatalf("%d octets from %d, %v", len(once), len(octets)-len(rest), err)
		}
		back, left, err := wire.DecodeTable(once)
		if err != nil || len(left) != 0 {
			t.Fatalf("does not decode again: %v", err)
		}
		if twice, err := wire.AppendTable(nil, back); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("% x, then % x, %v", once, twice, err)
		}
	})
}

// FuzzProperties: decoding, validating and peeking agree, re-encoding is a fixpoint.
func FuzzProperties(f *testing.F) {
	for _, frame := range seeds(f) {
		if _, _, raw, err := wire.DecodeHeader(payload(frame)); err == nil {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := wire.DecodeProperties(raw)
		valid := wire.PropertiesValid(raw)
		if (err == nil) != (valid == nil) {
			t.Fatalf("decoded with %v, validated with %v", err, valid)
		}
		if err != nil {
			wantCode(t, err, wire.SyntaxError)
			wire.PeekTable(wire.PeekHeaders(raw), "key")
			wire.PeekReplyTo(raw)
			return
		}
		checkPeeks(t, raw, &p)
		once := p.Append(nil)
		back, err := wire.DecodeProperties(once)
		if err != nil {
			t.Fatalf("does not decode again: %v", err)
		}
		if twice := back.Append(nil); !bytes.Equal(once, twice) {
			t.Fatalf("% x, then % x", once, twice)
		}
	})
}

// Transcripts are for reading: each line is one frame of one side.
func TestTranscriptsAreLines(t *testing.T) {
	files, err := filepath.Glob("testdata/*.trace")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			if !bytes.HasPrefix(line, []byte("C ")) && !bytes.HasPrefix(line, []byte("S ")) || bytes.Contains(line, []byte("secret=\"")) || bytes.Contains(line, []byte("malformed")) {
				t.Errorf("%s: %s", file, line)
			}
		}
	}
}
