package wire

// BufferSize is the octets a Reader holds, for tests of its bounds.
func (r *Reader) BufferSize() int { return len(r.buf) }
