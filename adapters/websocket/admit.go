package websocket

import (
	"net"
	"net/http"

	"portico/core"
)

// admit takes the connection into the list of those that are told when the gateway stops, or answers that it cannot.
func (a *Adapter) admit(w http.ResponseWriter, c member, remote string) bool {
	status, e := a.enter(c, remote)
	if e != nil {
		refuse(w, status, e)
	}
	return e == nil
}

func (a *Adapter) enter(c member, remote string) (status int, e *core.Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining || len(a.conns) >= a.most {
		return http.StatusServiceUnavailable, core.Errorf(core.CodeUnavailable, "no connection is taken now")
	}
	if !a.visitors.enter(remote) {
		return http.StatusTooManyRequests, core.Errorf(core.CodeResourceExhausted, "%d connections of this address are open, the most it may have", a.visitors.most)
	}
	a.conns[c] = struct{}{}
	a.active.Add(1)
	a.metrics.Connections.Inc()
	return 0, nil
}

func (a *Adapter) dismiss(c member, remote string) {
	a.mu.Lock()
	delete(a.conns, c)
	a.visitors.leave(remote)
	a.mu.Unlock()
	a.metrics.Connections.Dec()
	a.active.Done()
}

// visitors counts connections by IP address. Its owner's mutex guards it.
type visitors struct {
	most int // of one address; 0: no limit, and nothing is counted
	open map[string]int
}

// enter counts a connection in; false: there are enough from its address.
func (v *visitors) enter(remote string) bool {
	if v.most == 0 {
		return true
	}
	ip := addressOf(remote)
	if v.open[ip] >= v.most {
		return false
	}
	v.open[ip]++
	return true
}

func (v *visitors) leave(remote string) {
	if v.most == 0 {
		return
	}
	ip := addressOf(remote)
	if v.open[ip]--; v.open[ip] <= 0 {
		delete(v.open, ip)
	}
}

// addressOf is the address of host:port.
func addressOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	return host
}
