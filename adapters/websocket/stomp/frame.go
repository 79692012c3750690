package stomp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"portico/core"
)

// Version is a version of the protocol.
type Version uint8

// The versions. The zero value is 1.0, as long as nothing else has been agreed.
const (
	V10 Version = iota
	V11
	V12
)

// String is the version as the protocol writes it.
func (v Version) String() string { return [...]string{"1.0", "1.1", "1.2"}[v] }

// Field is one header of a frame.
type Field struct{ Name, Value string }

// Frame is one frame. Names and values are unescaped; the first of several fields of a name counts.
type Frame struct {
	Command string
	Fields  []Field
	Body    []byte
}

// Get returns a header's value, "" if there is none.
func (f *Frame) Get(name string) string {
	v, _ := f.Lookup(name)
	return v
}

// Lookup returns a header's value and whether there is such a header.
func (f *Frame) Lookup(name string) (string, bool) {
	for i := range f.Fields {
		if f.Fields[i].Name == name {
			return f.Fields[i].Value, true
		}
	}
	return "", false
}

// Limits of frames, in bytes, but for maxFields.
const (
	maxLine   = 10 << 10
	maxFields = 128
	maxHeader = 64 << 10
	smallBody = 64 << 10 // what every connection may read; more is reserved
)

// Limits bound what a Decoder takes in.
type Limits struct {
	Body    int                // bytes of a body
	Reserve func(n int64) bool // asks for n bytes for a large body, before they are allocated; nil: always granted
	Release func(n int64)      // gives them back
}

// Decoder reads frames out of a stream of bytes. It is for one goroutine.
type Decoder struct {
	r       *bufio.Reader
	limits  Limits
	version Version
	taken   int64 // reserved for the last frame's body
}

// NewDecoder returns a decoder of version 1.0, which CONNECT is read by, too.
func NewDecoder(r io.Reader, limits Limits) *Decoder {
	return &Decoder{r: bufio.NewReaderSize(r, 4<<10), limits: limits}
}

// Speak sets the version by which further frames are read.
func (d *Decoder) Speak(v Version) { d.version = v }

// Done gives back what was reserved for the last frame. Next does so, too.
func (d *Decoder) Done() {
	if d.taken > 0 {
		d.limits.Release(d.taken)
		d.taken = 0
	}
}

// Next reads the next frame and passes over the ends of lines before it, which are heart-beats. The frame is the caller's. Errors: core.Error with CodeInvalid,
// CodeTooLarge or CodeResourceExhausted for what is no frame or breaks a limit, and after those the stream is of no use; io.EOF at the end of the stream
// between frames, io.ErrUnexpectedEOF within one; what reading said.
func (d *Decoder) Next() (*Frame, error) {
	d.Done()
	command, err := d.command()
	if err != nil {
		return nil, err
	}
	f := &Frame{Command: command}
	if err := d.fields(f); err != nil {
		return nil, within(err)
	}
	if err := d.body(f); err != nil {
		return nil, within(err)
	}
	return f, nil
}

// within makes the end of the stream an unexpected one.
func within(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// commands are all that begin a frame, of clients and of servers.
var commands = [...]string{
	"SEND", "MESSAGE", "ACK", "NACK", "RECEIPT", "SUBSCRIBE", "UNSUBSCRIBE", "CONNECT", "STOMP", "CONNECTED", "BEGIN", "COMMIT", "ABORT", "DISCONNECT", "ERROR",
}

func (d *Decoder) command() (string, error) {
	for {
		line, err := d.line()
		switch {
		case err != nil && len(line) > 0:
			return "", within(err)
		case err != nil:
			return "", err
		case len(line) == 0:
			continue
		}
		if i := slices.Index(commands[:], string(line)); i >= 0 {
			return commands[i], nil
		}
		return "", core.Errorf(core.CodeInvalid, "unknown command %.32q", line)
	}
}

// line reads to the end of a line, which it takes off, a carriage return before it, too. The line is valid until the next call.
func (d *Decoder) line() ([]byte, error) {
	line, err := d.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = d.longLine(line)
	}
	if err != nil {
		return line, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

func (d *Decoder) longLine(begun []byte) ([]byte, error) {
	line := bytes.Clone(begun)
	for {
		more, err := d.r.ReadSlice('\n')
		line = append(line, more...)
		if len(line) > maxLine {
			return nil, core.Errorf(core.CodeTooLarge, "a line of more than %d bytes", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func (d *Decoder) fields(f *Frame) error {
	left := maxHeader
	for {
		line, err := d.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		if left -= len(line); left < 0 || len(f.Fields) == maxFields {
			return core.Errorf(core.CodeTooLarge, "more than %d headers, or %d bytes of them", maxFields, maxHeader)
		}
		name, value, ok := strings.Cut(string(line), ":")
		if !ok || name == "" {
			return core.Errorf(core.CodeInvalid, "header line %.64q: want name:value", line)
		}
		f.Fields = append(f.Fields, Field{name, value})
	}
	return d.plain(f)
}

// plain undoes what the version did to names and values.
func (d *Decoder) plain(f *Frame) error {
	_, later := f.Lookup("accept-version")
	opening := f.Command == "CONNECT" || f.Command == "STOMP" || f.Command == "CONNECTED"
	for i := range f.Fields {
		x := &f.Fields[i]
		if !utf8.ValidString(x.Name) || !utf8.ValidString(x.Value) || strings.ContainsRune(x.Name+x.Value, 0) {
			return core.Errorf(core.CodeInvalid, "header %.64q is not UTF-8 text", x.Name)
		}
		var err error
		switch {
		case opening && later: // literally
		case opening || d.version == V10:
			x.Name, x.Value = strings.TrimSpace(x.Name), strings.TrimSpace(x.Value) // clients of 1.0 write "name: value"
		default:
			if x.Name, err = d.unescape(x.Name); err == nil {
				x.Value, err = d.unescape(x.Value)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Decoder) unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch {
		case i < len(s) && s[i] == 'n':
			b.WriteByte('\n')
		case i < len(s) && s[i] == 'c':
			b.WriteByte(':')
		case i < len(s) && s[i] == '\\':
			b.WriteByte('\\')
		case i < len(s) && s[i] == 'r' && d.version == V12:
			b.WriteByte('\r')
		default:
			return "", core.Errorf(core.CodeInvalid, "header text %.64q has an escape that STOMP %s does not know", s, d.version)
		}
	}
	return b.String(), nil
}

// body reads the body and the NUL behind it.
func (d *Decoder) body(f *Frame) (err error) {
	if length, known := f.Lookup("content-length"); known {
		f.Body, err = d.counted(length)
	} else {
		f.Body, err = d.terminated()
	}
	if err != nil {
		return err
	}
	if len(f.Body) > 0 && f.Command != "SEND" && f.Command != "MESSAGE" && f.Command != "ERROR" {
		return core.Errorf(core.CodeInvalid, "%s has no body", f.Command)
	}
	return nil
}

// counted reads a body of a length that is known.
func (d *Decoder) counted(length string) ([]byte, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(length), 10, 62)
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "content-length %.32q: want a number", length)
	}
	if n > uint64(d.limits.Body) {
		return nil, d.tooLarge()
	}
	b := make([]byte, 0, min(n, smallBody))
	for uint64(len(b)) < n {
		if b, err = d.room(b, int(n)); err != nil {
			return nil, err
		}
		got, err := io.ReadFull(d.r, b[len(b):cap(b)][:min(cap(b)-len(b), int(n)-len(b))])
		b = b[:len(b)+got]
		if err != nil {
			return nil, err
		}
	}
	end, err := d.r.ReadByte()
	if err != nil {
		return nil, err
	}
	if end != 0 {
		return nil, core.Errorf(core.CodeInvalid, "no NUL behind a body of %d bytes", n)
	}
	return b, nil
}

// terminated reads a body up to its NUL.
func (d *Decoder) terminated() ([]byte, error) {
	var b []byte
	for {
		part, err := d.r.ReadSlice(0)
		if err == nil {
			part = part[:len(part)-1]
		}
		if len(b)+len(part) > d.limits.Body {
			return nil, d.tooLarge()
		}
		var failed error
		b, failed = d.gather(b, part)
		switch {
		case failed != nil:
			return nil, failed
		case err == nil:
			return b, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// gather appends part to b.
func (d *Decoder) gather(b, part []byte) (_ []byte, err error) {
	for len(part) > 0 {
		if b, err = d.room(b, d.limits.Body); err != nil {
			return nil, err
		}
		n := min(len(part), cap(b)-len(b))
		b, part = append(b, part[:n]...), part[n:]
	}
	return b, nil
}

// room returns b with room for at least one byte more: twice as much as it has, at most as much as most. What is beyond smallBody is reserved before.
func (d *Decoder) room(b []byte, most int) ([]byte, error) {
	if len(b) < cap(b) {
		return b, nil
	}
	size := min(max(512, 2*cap(b)), max(most, 1))
	if size > smallBody && d.limits.Reserve != nil {
		more := int64(size) - max(d.taken, 0)
		if !d.limits.Reserve(more) {
			return nil, core.Errorf(core.CodeResourceExhausted, "too many large frames at once")
		}
		d.taken += more
	}
	return append(make([]byte, 0, size), b...), nil
}

func (d *Decoder) tooLarge() error {
	return core.Errorf(core.CodeTooLarge, "a body of more than %d bytes", d.limits.Body)
}
