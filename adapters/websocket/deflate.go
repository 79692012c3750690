package websocket

import (
	"net/http"
	"strings"

	"github.com/klauspost/compress/flate"
)

// smallestDeflated is the size from which a message is compressed, in bytes: below that there is nothing to gain.
const smallestDeflated = 512

// deflater compresses messages, each by itself [RFC 7692 7.2.1], into a buffer.
type deflater struct {
	w   *flate.Writer
	out []byte
}

// Write implements io.Writer.
func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

// appendDeflated appends a frame that is a compressed message. A deflater, which is large, is needed only meanwhile.
func (a *Adapter) appendDeflated(dst []byte, opcode int, parts [][]byte) []byte {
	d, ok := a.deflaters.Get().(*deflater)
	if !ok {
		d = new(deflater)
		d.w, _ = flate.NewWriter(d, flate.BestSpeed) // fails for an unknown level only
	}
	defer a.deflaters.Put(d)
	d.out = d.out[:0]
	d.w.Reset(d)
	for _, p := range parts {
		_, _ = d.w.Write(p) // into memory
	}
	_ = d.w.Flush()                 // likewise
	content := d.out[:len(d.out)-4] // without the empty block that a flush ends with
	const compressed = 0x40         // RSV1
	at := len(dst)
	dst = append(appendFrameHead(dst, opcode, len(content)), content...)
	dst[at] |= compressed
	if cap(d.out) > keptScratch {
		d.out = nil
	}
	return dst
}

// offersDeflate tells whether the client offers permessage-deflate in a way that the library's answer, no context kept by either side, is an acceptance of. It cannot promise a smaller
// window than the usual one.
func offersDeflate(h http.Header) bool {
	for _, offer := range strings.Split(strings.Join(h.Values("Sec-Websocket-Extensions"), ","), ",") {
		name, parameters, _ := strings.Cut(offer, ";")
		if strings.TrimSpace(name) == "permessage-deflate" && acceptable(parameters) {
			return true
		}
	}
	return false
}

func acceptable(parameters string) bool {
	if strings.TrimSpace(parameters) == "" {
		return true
	}
	for _, p := range strings.Split(parameters, ";") {
		name, _, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits":
		default:
			return false
		}
	}
	return true
}
