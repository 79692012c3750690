package httpapi

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// packFrom is how large an answer must be to be packed, in bytes: smaller ones fit one packet.
const packFrom = 1 << 10

// packer makes and keeps the writers of one content coding.
type packer struct {
	name string
	pool *sync.Pool // of packing
}

// packing is a writer of a content coding.
type packing interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// newPackers returns the codings that answers may have, the better first. Each writer is bounded in memory: gzip's fastest level, zstd with a window of 128 KiB.
func newPackers() []*packer {
	return []*packer{
		{"zstd", &sync.Pool{New: func() any {
			w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10))
			if err != nil {
				return nil // cannot be: the options are right
			}
			return w
		}}},
		{"gzip", &sync.Pool{New: func() any {
			w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
			if err != nil {
				return nil // cannot be: the level is right
			}
			return w
		}}},
	}
}

// compress packs answers of more than 1 KiB for who accepts that: text and JSON that is not a stream, not packed already and not part of something (ranges, entity tags).
func (a *Adapter) compress(c *gin.Context) {
	if len(c.Request.Header["Accept-Encoding"]) == 0 || c.Request.Method == http.MethodHead {
		return
	}
	p := a.packerFor(c.Request.Header["Accept-Encoding"])
	if p == nil {
		return
	}
	w := &packedWriter{ResponseWriter: c.Writer, packer: p}
	c.Writer = w
	whole := false
	defer func() {
		if !whole {
			w.held = nil // a panic: another answer takes the place of what has not gone out
		}
		w.end()
		c.Writer = w.ResponseWriter
	}()
	c.Next()
	whole = true
}

// packerFor chooses by weight, the server's order where they are equal.
func (a *Adapter) packerFor(headers []string) (best *packer) {
	most := 0.0
	for _, p := range a.packers {
		if q := codingWeight(headers, p.name); q > most {
			best, most = p, q
		}
	}
	return best
}

// codingWeight is how much a coding is wanted [RFC 9110 12.5.3].
func codingWeight(headers []string, coding string) float64 {
	any := 0.0
	for _, header := range headers {
		for item := range strings.SplitSeq(header, ",") {
			name, rest, _ := strings.Cut(strings.TrimSpace(item), ";")
			q := 1.0
			if _, text, ok := strings.Cut(rest, "="); ok {
				q = weight(strings.TrimSpace(text))
			}
			switch strings.ToLower(strings.TrimSpace(name)) {
			case coding:
				return q
			case "*":
				any = q
			}
		}
	}
	return any
}

// packedWriter holds the beginning of an answer back until it is known whether it is worth packing.
type packedWriter struct {
	gin.ResponseWriter
	packer  *packer
	held    []byte
	out     packing
	decided bool
}

// Unwrap lets net/http's controller reach the connection.
func (w *packedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Written tells whether the answer has begun, as its handler sees it.
func (w *packedWriter) Written() bool { return len(w.held) > 0 || w.ResponseWriter.Written() }

// Write implements io.Writer.
func (w *packedWriter) Write(b []byte) (int, error) {
	if !w.decided {
		if len(w.held)+len(b) <= packFrom && w.packs() {
			w.held = append(w.held, b...)
			return len(b), nil
		}
		if err := w.decide(w.packs()); err != nil {
			return 0, err
		}
	}
	if w.out != nil {
		return w.out.Write(b)
	}
	return w.ResponseWriter.Write(b)
}

// WriteString implements io.StringWriter.
func (w *packedWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// WriteHeaderNow sends the header of an answer without a body.
func (w *packedWriter) WriteHeaderNow() {
	if len(w.held) == 0 && !w.decided {
		w.decided = true
	}
	if w.decided {
		w.ResponseWriter.WriteHeaderNow()
	}
}

// Flush sends what is there: the answer is a stream, and goes out as it is if it has not been packed so far.
func (w *packedWriter) Flush() {
	if !w.decided && w.decide(false) != nil {
		return
	}
	if w.out != nil && w.out.Flush() != nil {
		return
	}
	w.ResponseWriter.Flush()
}

// packs tells whether the answer is one to pack.
func (w *packedWriter) packs() bool {
	h := w.Header()
	if h.Get("Content-Encoding") != "" || h.Get("ETag") != "" || h.Get("Accept-Ranges") != "" || h.Get("Repr-Digest") != "" ||
		w.Status() == http.StatusPartialContent || w.Status() < 200 {
		return false
	}
	mediaType, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch {
	case mediaType == "text/event-stream", mediaType == "application/x-ndjson":
		return false
	case strings.HasPrefix(mediaType, "text/"), strings.HasSuffix(mediaType, "+json"), strings.HasSuffix(mediaType, "+xml"):
		return true
	}
	return mediaType == "application/json" || mediaType == "application/xml" || mediaType == "application/yaml" || mediaType == "application/javascript"
}

// decide begins the answer, packed or not, with what was held back.
func (w *packedWriter) decide(pack bool) error {
	w.decided = true
	held := w.held
	w.held = nil
	if pack {
		if out, ok := w.packer.pool.Get().(packing); ok {
			h := w.Header()
			h.Set("Content-Encoding", w.packer.name)
			h.Add("Vary", "Accept-Encoding")
			h.Del("Content-Length")
			out.Reset(w.ResponseWriter)
			w.out = out
		}
	}
	if len(held) == 0 {
		return nil
	}
	var err error
	if w.out != nil {
		_, err = w.out.Write(held)
	} else {
		_, err = w.ResponseWriter.Write(held)
	}
	return err
}

// end finishes the answer.
func (w *packedWriter) end() {
	if !w.decided && len(w.held) > 0 {
		_ = w.decide(false) // the client may be gone: nothing is left to do for it
	}
	if w.out == nil {
		return
	}
	_ = w.out.Close() // likewise
	w.out.Reset(nil)
	w.packer.pool.Put(w.out)
	w.out = nil
}
