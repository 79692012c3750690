package wire_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"

	"portico/adapters/amqp/wire"
)

func TestReadFrame(t *testing.T) {
	octets := []byte{
		1, 0, 7, 0, 0, 0, 4, 0, 60, 0, 80, 0xCE,
		8, 0, 0, 0, 0, 0, 0, 0xCE,
		3, 1, 2, 0, 0, 0, 2, 'h', 'i', 0xCE,
		2, 0xFF, 0xFF, 0, 0, 0, 0, 0xCE,
	}
	want := []wire.Frame{
		{Type: wire.FrameMethod, Channel: 7, Payload: []byte{0, 60, 0, 80}},
		{Type: wire.FrameHeartbeat, Channel: 0, Payload: []byte{}},
		{Type: wire.FrameBody, Channel: 0x102, Payload: []byte("hi")},
		{Type: wire.FrameHeader, Channel: 0xFFFF, Payload: []byte{}},
	}
	sources := map[string]func(io.Reader) io.Reader{
		"at once":         func(r io.Reader) io.Reader { return r },
		"octet by octet":  iotest.OneByteReader,
		"half of it":      iotest.HalfReader,
		"data with error": iotest.DataErrReader,
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			r := wire.NewReader(source(bytes.NewReader(octets)), wire.FrameMinSize)
			for i, w := range want {
				f, err := r.ReadFrame()
				if err != nil {
					t.Fatalf("frame %d: %v", i, err)
				}
				if f.Type != w.Type || f.Channel != w.Channel || !bytes.Equal(f.Payload, w.Payload) {
					t.Fatalf("frame %d is %+v, want %+v", i, f, w)
				}
			}
			if _, err := r.ReadFrame(); err != io.EOF {
				t.Fatalf("after the last frame: %v, want io.EOF", err)
			}
		})
	}
}

func TestReadFrameRefuses(t *testing.T) {
	tests := map[string]struct {
		octets []byte
		code   uint16 // 0: unexpected EOF
	}{
		"unknown type":           {[]byte{4, 0, 0, 0, 0, 0, 0, 0xCE}, wire.FrameError},
		"type zero":              {[]byte{0, 0, 0, 0, 0, 0, 0, 0xCE}, wire.FrameError},
		"wrong end":              {[]byte{3, 0, 1, 0, 0, 0, 1, 'x', 0xCD}, wire.FrameError},
		"4 GiB announced":        {[]byte{3, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF}, wire.FrameError},
		"one octet above limit":  {[]byte{3, 0, 1, 0, 0, 0x10, 0x01}, wire.FrameError},
		"heartbeat with payload": {[]byte{8, 0, 0, 0, 0, 0, 1, 'x', 0xCE}, wire.FrameError},
		"cut in the start":       {[]byte{3, 0, 1}, 0},
		"cut in the payload":     {[]byte{3, 0, 1, 0, 0, 0, 2, 'x'}, 0},
		"cut before the end":     {[]byte{3, 0, 1, 0, 0, 0, 1, 'x'}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := wire.NewReader(bytes.NewReader(tt.octets), wire.FrameMinSize)
			_, err := r.ReadFrame()
			if tt.code != 0 {
				wantCode(t, err, tt.code)
			} else if err != io.ErrUnexpectedEOF {
				t.Fatalf("error %v, want io.ErrUnexpectedEOF", err)
			}
		})
	}
}

// RabbitMQ takes whole frames of frame-max+8 octets.
func TestReadFrameLimit(t *testing.T) {
	frame := func(payload int) []byte {
		return wire.AppendFrame(nil, wire.Frame{Type: wire.FrameBody, Channel: 1, Payload: make([]byte, payload)})
	}
	for _, max := range []uint32{wire.FrameMinSize, 9000, 131072} {
		r := wire.NewReader(bytes.NewReader(frame(int(max))), wire.FrameMinSize)
		r.SetMax(max)
		if f, err := r.ReadFrame(); err != nil || len(f.Payload) != int(max) {
			t.Errorf("payload of frame-max %d: %d octets, %v", max, len(f.Payload), err)
		}
		r = wire.NewReader(bytes.NewReader(frame(int(max)+1)), max)
		_, err := r.ReadFrame()
		wantCode(t, err, wire.FrameError)
	}
}

func TestReadProtocolHeader(t *testing.T) {
	octets := append(append([]byte{}, wire.ProtocolHeader[:]...), wire.AppendHeartbeat(nil)...)
	r := wire.NewReader(iotest.OneByteReader(bytes.NewReader(octets)), 0)
	if h, err := r.ReadProtocolHeader(); err != nil || h != wire.ProtocolHeader {
		t.Fatalf("header %q, %v", h, err)
	}
	if f, err := r.ReadFrame(); err != nil || f.Type != wire.FrameHeartbeat {
		t.Fatalf("frame behind the header: %+v, %v", f, err)
	}
	if _, err := wire.NewReader(bytes.NewReader(nil), 0).ReadProtocolHeader(); err != io.EOF {
		t.Errorf("nothing sent: %v, want io.EOF", err)
	}
	if _, err := wire.NewReader(bytes.NewReader([]byte("AMQP")), 0).ReadProtocolHeader(); err != io.ErrUnexpectedEOF {
		t.Errorf("half a header: %v, want io.ErrUnexpectedEOF", err)
	}
}

func TestReaderTellsWhatIsBuffered(t *testing.T) {
	one := wire.AppendBasicAck(nil, 1, 1, false)
	octets := bytes.Join([][]byte{one, one, one[:9]}, nil)
	r := wire.NewReader(bytes.NewReader(octets), 0)
	if r.FrameBuffered() || r.Buffered() != 0 {
		t.Error("something is buffered before the first read")
	}
	for i, want := range []bool{true, false} {
		if _, err := r.ReadFrame(); err != nil {
			t.Fatal(err)
		}
		if got := r.FrameBuffered(); got != want {
			t.Errorf("after frame %d: FrameBuffered is %v", i+1, got)
		}
	}
	if got := r.Buffered(); got != 9 {
		t.Errorf("%d octets buffered, want the 9 of the third frame", got)
	}
	bad := wire.NewReader(bytes.NewReader(append(bytes.Clone(one), "nonsense"...)), 0)
	if _, err := bad.ReadFrame(); err != nil || !bad.FrameBuffered() {
		t.Errorf("a frame error at hand is not told: %v", err)
	}
}

// pieces gives one piece a read, an error where the piece is nil.
type pieces struct {
	list [][]byte
	err  error
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.list) == 0 {
		return 0, io.EOF
	}
	piece := p.list[0]
	if piece == nil {
		p.list = p.list[1:]
		return 0, p.err
	}
	n := copy(b, piece)
	if p.list[0] = piece[n:]; n == len(piece) {
		p.list = p.list[1:]
	}
	return n, nil
}

func TestReadFrameResumesAfterDeadline(t *testing.T) {
	frame := wire.AppendBasicAck(nil, 3, 9, true)
	r := wire.NewReader(&pieces{list: [][]byte{frame[:5], nil, frame[5:15], nil, frame[15:]}, err: os.ErrDeadlineExceeded}, 0)
	deadlines := 0
	for {
		f, err := r.ReadFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			deadlines++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if tag, multiple, err := wire.DecodeAck(f.Payload); tag != 9 || !multiple || err != nil {
			t.Errorf("ack %d %v %v", tag, multiple, err)
		}
		break
	}
	if deadlines != 2 {
		t.Errorf("%d deadlines seen, want 2", deadlines)
	}
}

func TestReadFrameGivesUpOnASilentSource(t *testing.T) {
	r := wire.NewReader(&pieces{list: [][]byte{{1}, {}, {}}}, 0)
	silent := readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := wire.NewReader(silent, 0).ReadFrame(); err != io.ErrNoProgress {
		t.Errorf("error %v, want io.ErrNoProgress", err)
	}
	if _, err := r.ReadFrame(); err != io.ErrUnexpectedEOF {
		t.Errorf("error %v, want io.ErrUnexpectedEOF", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// An announced size takes no memory, octets that arrive do, and an idle
// connection gives it back.
func TestReaderBuffer(t *testing.T) {
	const frameMax = 131072
	const idle = 4096
	body := wire.AppendFrame(nil, wire.Frame{Type: wire.FrameBody, Channel: 1, Payload: make([]byte, frameMax-8)})
	beat := wire.AppendHeartbeat(nil)
	src := &pieces{list: [][]byte{body[:100], nil}, err: os.ErrDeadlineExceeded}
	r := wire.NewReader(src, frameMax)
	if _, err := r.ReadFrame(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if got := r.BufferSize(); got != idle {
		t.Errorf("an announced frame holds %d octets", got)
	}
	src.list = [][]byte{body[100:], beat}
	if _, err := r.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	if got := r.BufferSize(); got < frameMax || got > frameMax+8 {
		t.Errorf("a frame of %d octets is read into %d", frameMax, got)
	}
	if _, err := r.ReadFrame(); err != nil || r.BufferSize() != idle {
		t.Errorf("a heartbeat leaves %d octets, %v", r.BufferSize(), err)
	}

	src.list = [][]byte{body}
	for range 70 {
		src.list = append(src.list, wire.AppendBasicAck(nil, 1, 1, false))
	}
	for range 71 {
		if _, err := r.ReadFrame(); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.BufferSize(); got != idle {
		t.Errorf("70 small reads leave %d octets", got)
	}
}

// A stream of small frames grows the buffer for throughput, within bounds.
func TestReaderBufferUnderLoad(t *testing.T) {
	stream := bytes.Repeat(wire.AppendBasicAck(nil, 1, 1, false), 50_000)
	for max, most := range map[uint32]int{wire.FrameMinSize: wire.FrameMinSize + 8, 131072: 64 << 10} {
		reads := 0
		src := bytes.NewReader(stream)
		r := wire.NewReader(readerFunc(func(b []byte) (int, error) { reads++; return src.Read(b) }), max)
		frames := 0
		for {
			_, err := r.ReadFrame()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			frames++
		}
		if frames != 50_000 || r.BufferSize() > most {
			t.Errorf("frame-max %d: %d frames, %d octets held, want at most %d", max, frames, r.BufferSize(), most)
		}
		if limit := len(stream)/most*11/10 + 8; reads > limit {
			t.Errorf("frame-max %d: %d reads, want at most %d", max, reads, limit)
		}
	}
}
