package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"portico/core"
)

// administrative are the paths that are only at the administrators' own address, if there is one.
var administrative = [...]string{"/v1/users", "/v1/tenants", "/v1/configuration", "/metrics"}

// forAdmins tells whether a path is one of those, or below one.
func forAdmins(path string) bool {
	for _, p := range administrative {
		if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// withoutAdmin is the handler of the public address: what is administrative is not there.
func withoutAdmin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !forAdmins(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		p := problemOf(core.Errorf(core.CodeNotFound, "this is at the administrators' address"))
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(p.Status)
		_ = json.NewEncoder(w).Encode(p) // the client may have gone
	})
}

// newServer is an HTTP server with the door's bounds.
func (a *Adapter) newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ConnContext: withSession, ConnState: a.count, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Protocols: protocols(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, WriteTimeout: answerTimeout, MaxHeaderBytes: maxHeaderBytes,
	}
}

// openAdmin opens the administrators' own address, if there is one.
func (a *Adapter) openAdmin(cfg Config, handler http.Handler, log *slog.Logger) error {
	if cfg.AdminListen == "" {
		return nil
	}
	l, err := net.Listen("tcp", cfg.AdminListen)
	if err != nil {
		return err
	}
	a.adminListener = cfg.TLS.Listener(newLimitListener(a.gateway.Gate().Listener(l, tooMany(cfg.TLS)), cfg.MaxConnections), "h2", "http/1.1")
	a.adminServer = a.newServer(handler, log)
	return nil
}

// AdminAddr is the administrators' own address, "" for none.
func (a *Adapter) AdminAddr() string {
	if a.adminListener == nil {
		return ""
	}
	return a.adminListener.Addr().String()
}

// begin serves both addresses. What ends them is told once for each that is served.
func (a *Adapter) begin() (served chan error, addresses int) {
	served = make(chan error, 2)
	go func() { served <- a.server.Serve(a.listener) }()
	if a.adminServer == nil {
		return served, 1
	}
	go func() { served <- a.adminServer.Serve(a.adminListener) }()
	return served, 2
}

// shutdown ends both, by limit at the latest.
func (a *Adapter) shutdown(limit context.Context) error {
	all := []*http.Server{a.server}
	if a.adminServer != nil {
		all = append(all, a.adminServer)
	}
	var errs []error
	for _, s := range all {
		err := s.Shutdown(limit)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// close closes the listeners.
func (a *Adapter) close() error {
	err := a.listener.Close()
	if a.adminListener != nil {
		err = errors.Join(err, a.adminListener.Close())
	}
	return err
}
