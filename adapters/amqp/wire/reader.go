package wire

import (
	"encoding/binary"
	"errors"
	"io"
)

const (
	// idleBuffer is what an idle connection holds, in octets.
	idleBuffer = 4 << 10
	// busyBuffer is how far the buffer grows for throughput alone; a frame
	// larger than that makes it grow to the frame's size.
	busyBuffer = 64 << 10
	// quietFills is how many reads in a row may bring less than a quarter of
	// idleBuffer before a grown buffer is given up.
	quietFills = 64
	// frameMaxCeiling keeps sizes within an int everywhere.
	frameMaxCeiling = 1 << 30
	// emptyReads is how often a source may return nothing and no error.
	emptyReads = 100
)

// Reader takes frames from a byte stream. It owns one buffer: 4 KiB at rest,
// grown as octets really arrive (never by an announced size) up to the largest
// frame allowed, and given back by a heartbeat or a run of small reads. It is
// used by one goroutine.
type Reader struct {
	src io.Reader
	max uint32 // largest payload accepted

	buf   []byte // buf[start:end] is read and not yet handed out
	start int
	end   int
	quiet int  // small fills in a row
	grow  bool // the last fill left no room: more is waiting
}

// NewReader reads frames from r. max is the frame-max in force, in octets with
// framing; frames up to max+8 are accepted, as RabbitMQ does. Less than
// FrameMinSize counts as FrameMinSize, more than 1 GiB as 1 GiB.
func NewReader(r io.Reader, max uint32) *Reader {
	fr := &Reader{src: r, buf: make([]byte, idleBuffer)}
	fr.SetMax(max)
	return fr
}

// SetMax sets the frame-max for the frames to come, as NewReader does.
func (r *Reader) SetMax(max uint32) { r.max = maxPayload(max) }

// maxPayload is the largest payload accepted under a frame-max: frame-max itself,
// which with 8 octets of framing makes the tolerated max+8.
func maxPayload(frameMax uint32) uint32 {
	return min(max(frameMax, FrameMinSize), frameMaxCeiling)
}

// Buffered is the number of octets read from the source and not yet handed out.
func (r *Reader) Buffered() int { return r.end - r.start }

// FrameBuffered says whether the next ReadFrame returns without reading from
// the source, be it a frame or an error.
func (r *Reader) FrameBuffered() bool {
	size, err := r.frameSize()
	return err != nil || size > 0 && size <= r.Buffered()
}

// ReadProtocolHeader takes the eight octets a client opens with, whatever they
// are; compare them with [ProtocolHeader]. io.EOF means there was nothing,
// io.ErrUnexpectedEOF that there was less.
func (r *Reader) ReadProtocolHeader() ([8]byte, error) {
	var h [8]byte
	for r.Buffered() < len(h) {
		if err := r.fill(len(h)); err != nil {
			return h, err
		}
	}
	r.start += copy(h[:], r.buf[r.start:])
	return h, nil
}

// ReadFrame takes the next frame. The error is io.EOF at a frame's border,
// io.ErrUnexpectedEOF inside a frame, a [*ConnError] 501 for an unknown type, a
// payload above the limit or a wrong end octet, else what the source returned:
// after a deadline the call may be repeated and nothing is lost.
func (r *Reader) ReadFrame() (Frame, error) {
	for {
		size, err := r.frameSize()
		if err != nil {
			return Frame{}, err
		}
		if size > 0 && size <= r.Buffered() {
			return r.take(size)
		}
		if err := r.fill(max(size, frameHeaderSize)); err != nil {
			return Frame{}, err
		}
	}
}

// frameSize is the octets of the next frame with framing, 0 while its start
// has not arrived.
func (r *Reader) frameSize() (int, error) {
	b := r.buf[r.start:r.end]
	if len(b) < frameHeaderSize {
		return 0, nil
	}
	switch FrameType(b[0]) {
	case FrameMethod, FrameHeader, FrameBody, FrameHeartbeat:
	default:
		return 0, ConnErrorf(FrameError, "unknown frame type %d", b[0])
	}
	size := binary.BigEndian.Uint32(b[3:])
	if FrameType(b[0]) == FrameHeartbeat && size != 0 {
		return 0, ConnErrorf(FrameError, "heartbeat frame with a payload of %d octets", size)
	}
	if size > r.max {
		return 0, ConnErrorf(FrameError, "frame payload of %d octets is larger than frame_max allows (%d)", size, r.max-FrameOverhead)
	}
	return int(size) + FrameOverhead, nil
}

// take hands out the frame of size octets at the front of the buffer.
func (r *Reader) take(size int) (Frame, error) {
	b := r.buf[r.start : r.start+size]
	if b[size-1] != FrameEnd {
		return Frame{}, ConnErrorf(FrameError, "frame end octet is 0x%02X, not 0xCE", b[size-1])
	}
	r.start += size
	if FrameType(b[0]) == FrameHeartbeat && r.start == r.end {
		r.rest() // a peer sends heartbeats when it has nothing else to send
	}
	return Frame{
		Type:    FrameType(b[0]),
		Channel: binary.BigEndian.Uint16(b[1:]),
		Payload: b[frameHeaderSize : size-1 : size-1],
	}, nil
}

// rest gives a grown buffer up; the caller knows it to be empty.
func (r *Reader) rest() {
	r.start, r.end, r.quiet, r.grow = 0, 0, 0, false
	if len(r.buf) > idleBuffer {
		r.buf = make([]byte, idleBuffer)
	}
}

// fill reads once from the source, after making room. want is the octets of the
// thing being read, as far as known.
func (r *Reader) fill(want int) error {
	r.makeRoom(want)
	for range emptyReads {
		n, err := r.src.Read(r.buf[r.end:])
		if n > 0 {
			r.end += n
			r.measure(n)
			return nil // an error that came along shows again at the next read
		}
		if err != nil {
			return r.readError(err)
		}
	}
	return io.ErrNoProgress
}

func (r *Reader) readError(err error) error {
	if errors.Is(err, io.EOF) {
		if r.Buffered() > 0 {
			return io.ErrUnexpectedEOF
		}
		return io.EOF
	}
	return err
}

// measure learns from a read of n octets how busy the connection is.
func (r *Reader) measure(n int) {
	r.grow = r.end == len(r.buf)
	if n < idleBuffer/4 {
		r.quiet++
	} else {
		r.quiet = 0
	}
}

// makeRoom leaves at least one free octet behind buf[end], moving what is
// buffered to the front and growing, at most twofold, when the buffer is full.
func (r *Reader) makeRoom(want int) {
	if r.start == r.end && r.quiet >= quietFills {
		r.rest()
	}
	if r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	limit := max(want, min(busyBuffer, int(r.max)+FrameOverhead), idleBuffer)
	if (r.grow || r.end == len(r.buf)) && len(r.buf) < limit {
		r.grow = false
		bigger := make([]byte, min(2*len(r.buf), limit))
		copy(bigger, r.buf[:r.end])
		r.buf = bigger
	}
}
