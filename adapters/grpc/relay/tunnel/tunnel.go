// Package tunnel carries the bytes of a connection in the frames of a gRPC stream: what both sides of a relay have in common.
package tunnel

import (
	"errors"
	"fmt"
	"net"
)

// MaxChunk is the most bytes in one frame.
const MaxChunk = 64 << 10

// ErrChunk is the error of a chunk that is too large.
var ErrChunk = errors.New("chunk too large")

// Out sends what is written to the other end of conn, in chunks, until conn is closed or send fails. The error is why; io.EOF and io.ErrClosedPipe say that an end was closed. A chunk is
// valid only until send returns.
func Out(conn net.Conn, send func(chunk []byte) error) error {
	buffer := make([]byte, MaxChunk)
	for {
		n, err := conn.Read(buffer)
		if n > 0 {
			if err := send(buffer[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// In writes a chunk that came to conn. It waits while the other end does not read. The error is ErrChunk, or io.ErrClosedPipe.
func In(conn net.Conn, chunk []byte) error {
	if len(chunk) > MaxChunk {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrChunk, len(chunk), MaxChunk)
	}
	_, err := conn.Write(chunk)
	return err
}
