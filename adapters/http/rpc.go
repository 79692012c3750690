package httpapi

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"portico/core"
)

// rpcPaths begins the paths of the gRPC services that this door carries for another.
const rpcPaths = "/portico.v1."

// withRPC puts gRPC services beside the routes. They log in by themselves; what this door does for them is where pages come from, and that nobody holds a connection without reading.
func (a *Adapter) withRPC(rpc http.Handler, next http.Handler) http.Handler {
	if rpc == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, rpcPaths) {
			next.ServeHTTP(w, r)
			return
		}
		if err := a.origins.Check(r); err != nil {
			http.Error(w, core.CodePermissionDenied.String()+": the page is of another origin", http.StatusForbidden)
			return
		}
		out := &rpcWriter{ResponseWriter: w, control: http.NewResponseController(w), patience: a.writeTimeout}
		if r.ProtoMajor < 2 { // the request comes in one go
			r.Body = &rpcBody{ReadCloser: r.Body, control: out.control}
			_ = out.control.SetReadDeadline(time.Now().Add(a.patience + time.Duration(a.maxBody/bodyPace)*time.Second))
		}
		out.rest() // until something is written: the service may think, or the client send, for longer than a write may take
		rpc.ServeHTTP(out, r)
		out.renew() // for what the server writes at the end
	})
}

// rpcBody lets a connection be silent once its request has come.
type rpcBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (b *rpcBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// rpcWriter gives each write of a stream its own deadline: the client that takes nothing for so long is gone.
type rpcWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

func (w *rpcWriter) renew() { _ = w.control.SetWriteDeadline(time.Now().Add(w.patience)) }

// rest lets the stream be silent for as long as it wants.
func (w *rpcWriter) rest() { _ = w.control.SetWriteDeadline(time.Time{}) }

// Write implements io.Writer.
func (w *rpcWriter) Write(p []byte) (int, error) {
	w.renew()
	n, err := w.ResponseWriter.Write(p)
	w.rest()
	return n, err
}

// Flush implements http.Flusher.
func (w *rpcWriter) Flush() {
	w.renew()
	_ = w.control.Flush() // an error is that of the next write
	w.rest()
}

// Unwrap serves http.ResponseController.
func (w *rpcWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
